//! Names of the language for layers that other programs named, or nobody.

use super::{LayerId, Sheet};
use std::collections::{BTreeSet, HashMap};

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

/// The names of a network's layers.
pub struct Names {
    /// The name of each layer as `check` and weights have it.
    pub full: Vec<String>,
    /// Layers whose name stands in the text: `as name`.
    pub given: Vec<bool>,
}

/// Names all layers, visited in the order of the text: the file's names, made different where they are the same, and
/// `relu3` as the language counts where there is none.
pub fn names(sheet: &Sheet, order: &[LayerId]) -> Names {
    let count = sheet.layers.len();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let input = sheet.layers[0].name.clone().unwrap_or_default();
    taken.insert(input.clone());
    let mut wanted: Vec<Option<String>> = vec![None; count];
    for &id in order {
        let Some(name) = sheet.layers[id].name.clone() else { continue };
        let numbered = (2..).map(|n| format!("{name}_{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name));
        taken.extend(free.clone());
        wanted[id] = free;
    }
    let mut names = Names { full: vec![String::new(); count], given: vec![false; count] };
    names.full[0] = input;
    let mut counters: HashMap<&str, usize> = HashMap::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for &id in order {
        let kind = sheet.layers[id].function;
        let counter = counters.entry(kind).or_insert(0);
        let own = wanted[id].as_ref();
        let reserved = |name: &String| used.contains(name) || (taken.contains(name) && own != Some(name));
        let mut next = *counter + 1;
        while reserved(&format!("{kind}{next}")) {
            next += 1;
        }
        let automatic = format!("{kind}{next}");
        if own.is_none_or(|name| *name == automatic) {
            *counter = next;
            taken.remove(&automatic);
            names.full[id] = automatic;
        } else if let Some(name) = own {
            names.given[id] = true;
            names.full[id] = name.clone();
        }
        used.insert(names.full[id].clone());
    }
    names
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
