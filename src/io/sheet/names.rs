//! Names of the language for layers that other programs named, or nobody.

use super::body::{Body, Step, What};
use super::definitions::Block;
use super::{LayerId, Sheet};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Words that no name may be.
const TAKEN: [&str; 11] =
    ["network", "block", "input", "let", "output", "return", "repeat", "defaults", "as", "true", "false"];
/// Longest name that is kept.
const LONGEST: usize = 100;

/// Makes a name of the language of any text: what it cannot hold becomes `_`.
pub fn identifier(text: &str) -> Option<String> {
    let letters = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    let name = letters.take(LONGEST).collect::<String>();
    let mut name = name.trim_matches('_').to_string();
    while name.contains("__") {
        name = name.replace("__", "_");
    }
    if name.is_empty() || name.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    let bad = name.starts_with(|c: char| c.is_ascii_digit()) || TAKEN.contains(&name.as_str());
    Some(if bad { format!("_{name}") } else { name })
}

/// What gives names to the steps of a body, as the language does.
struct Namer<'a> {
    sheet: &'a Sheet,
    /// Its blocks, with the names of their layers.
    blocks: &'a [(Block, Vec<String>)],
    /// The name of each layer as `check` and weights have it.
    names: Vec<String>,
    /// The first layer of a block's first call, where its body is named.
    first: LayerId,
    counters: HashMap<String, usize>,
    used: HashSet<String>,
    reserved: HashSet<String>,
    /// Drops names that the language gives anyway.
    drops: bool,
}

/// Names the steps of the network or, by its first call, of a block: first those that have a name of their own, made
/// different where they are the same, then `relu3` as the language counts. Returns the names of all layers, and of the
/// entries' values.
pub fn name(
    sheet: &Sheet,
    blocks: &[(Block, Vec<String>)],
    layers: Range<LayerId>,
    body: &mut Body,
    input: &str,
) -> (Vec<String>, Vec<String>) {
    let mut round = |drops| {
        let mut namer = Namer {
            sheet,
            blocks,
            names: vec![String::new(); layers.len()],
            first: layers.start,
            counters: HashMap::new(),
            used: HashSet::new(),
            reserved: HashSet::new(),
            drops,
        };
        // A block's value is no layer.
        if layers.start == 0 {
            namer.names[0] = input.to_string();
            namer.used.insert(input.to_string());
            namer.reserved.insert(input.to_string());
        }
        namer.unique(body);
        // The language counts in the order of the text.
        let mut values = vec![input.to_string(); body.entries.len()];
        for at in body.statements().into_iter().flatten() {
            values[at] = namer.step(&mut body.entries[at].step, "", false);
        }
        (namer.names, values)
    };
    // Names of a repeat's layers stay clear of those that stand in the text, which the first round finds.
    round(true);
    round(false)
}

impl Namer<'_> {
    /// Makes names that the file gives different; within repeats they are numbered, and stay clear of the others alone.
    fn unique(&mut self, body: &mut Body) {
        for entry in &mut body.entries {
            let Some(name) = entry.step.alias.take() else { continue };
            let numbered = (2..).map(|n| format!("{name}_{n}"));
            let free = std::iter::once(name.clone()).chain(numbered).find(|name| self.reserved.insert(name.clone()));
            entry.step.alias = free;
        }
        let outer = self.reserved.clone();
        for entry in &mut body.entries {
            let What::Repeat(rounds) = &mut entry.step.what else { continue };
            // Repeats within them have no names.
            for name in rounds.iter_mut().flatten().filter_map(|step| step.alias.as_mut()) {
                while outer.contains(name) {
                    name.push('_');
                }
                self.reserved.insert(name.clone());
            }
        }
    }

    /// Names a step, and returns the name without the prefix.
    fn step(&mut self, step: &mut Step, prefix: &str, repeated: bool) -> String {
        let Step { what, alias } = step;
        match what {
            What::Layer(place) => {
                let kind = self.sheet.layers[self.first + *place].function;
                let name = self.one(kind, alias, prefix, repeated);
                self.names[*place] = format!("{prefix}{name}");
                name
            }
            What::Call { block, layers, .. } => {
                let (definition, inner) = &self.blocks[*block];
                let name = self.one(&definition.name, alias, prefix, repeated);
                for (id, own) in layers.clone().zip(inner) {
                    self.names[id] = format!("{prefix}{name}.{own}");
                }
                name
            }
            What::Repeat(rounds) => {
                let within = alias.as_ref().map_or(prefix.to_string(), |alias| format!("{alias}."));
                self.used.extend(alias.clone());
                let mut last = String::new();
                for step in rounds.iter_mut().flatten() {
                    last = self.step(step, &within, true);
                }
                alias.clone().unwrap_or(last)
            }
        }
    }

    fn one(&mut self, kind: &str, alias: &mut Option<String>, prefix: &str, repeated: bool) -> String {
        let own = alias.clone().filter(|_| !repeated);
        let stem = format!("{prefix}{}", alias.as_deref().filter(|_| repeated).unwrap_or(kind));
        let mut next = self.counters.get(&stem).copied().unwrap_or(0) + 1;
        let name = loop {
            let name = format!("{stem}{next}");
            let short = &name[prefix.len()..];
            let reserved = self.reserved.contains(short) && own.as_deref() != Some(short);
            if !reserved && !self.used.contains(&name) {
                break name;
            }
            next += 1;
        };
        let name = match own {
            Some(own) if own != name || !self.drops => format!("{prefix}{own}"),
            own => {
                self.counters.insert(stem, next);
                if let Some(own) = own {
                    self.reserved.remove(&own);
                    *alias = None;
                }
                name
            }
        };
        self.used.insert(name.clone());
        name[prefix.len()..].to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::identifier;

    #[test]
    fn identifiers_of_any_text() {
        let cases = [
            ("features.0", Some("features_0")),
            ("/layer1/conv/Conv", Some("layer1_conv_Conv")),
            ("0.weight", Some("_0_weight")),
            ("123", None),
            ("::", None),
            ("block", Some("_block")),
            ("größe", Some("gr_e")),
        ];
        for (text, right) in cases {
            assert_eq!(identifier(text).as_deref(), right, "{text}");
        }
    }
}
