//! A network's text: one pipeline where values flow one after the other, `let` where a value has several users.

use super::body::{Body, Entry, Step, What};
use super::definitions::{Block, Parameter, VALUE};
use super::names::name;
use super::repeats::Style;
use super::{Arg, Args, Layer, LayerId, Sheet, WEIGHT, Written};
use std::fmt::Write;

/// A network's text, with the name of each layer.
struct Text {
    text: String,
    names: Vec<String>,
}

/// Writes a network; its tensors move out of it.
pub fn write(mut sheet: Sheet, style: Style) -> Written {
    let defaults = sheet.shared_settings();
    let mut written = text(&sheet, &defaults, style);
    if style == Style::Named {
        // Its weights lie elsewhere under their names.
        let plain = text(&sheet, &defaults, Style::Plain);
        let weighted = |id: LayerId| sheet.layers[id].weighted();
        if (0..sheet.layers.len()).any(|id| weighted(id) && plain.names[id] != written.names[id]) {
            written = plain;
        }
    }
    let Text { text, names } = written;
    let products = sheet.layers.iter().zip(&names).flat_map(|(layer, name)| {
        let stem = move |weight: &str| format!("{name}.{weight}").trim_end_matches(WEIGHT).trim_end_matches('.').into();
        layer.bytes.products.iter().map(move |(weight, stated)| (stem(weight), stated.clone()))
    });
    let stated = products.collect();
    let tensors = sheet.layers.iter_mut().zip(&names).flat_map(|(layer, name)| {
        std::mem::take(&mut layer.params).into_iter().map(move |(suffix, tensor)| (format!("{name}.{suffix}"), tensor))
    });
    Written { text, tensors: tensors.collect(), stated, quantised: sheet.quantised }
}

fn text(sheet: &Sheet, Args(defaults): &Args, style: Style) -> Text {
    let (mut body, blocks) = sheet.body(style);
    let mut text = String::new();
    let mut named: Vec<(Block, Vec<String>)> = Vec::new();
    for mut block in blocks {
        let (inner, values) = name(sheet, &[], block.calls[0].clone(), &mut block.body, VALUE);
        text += &definition(sheet, &block, &values);
        named.push((block, inner));
    }
    let input = sheet.layers[0].name.clone().unwrap_or_default();
    let (names, values) = name(sheet, &named, 0..sheet.layers.len(), &mut body, &input);
    let _ = writeln!(text, "network {} {{", sheet.name);
    if !defaults.is_empty() {
        let all: Vec<String> = defaults.iter().map(|(name, value)| format!("{name} = {}", argument(value))).collect();
        let _ = writeln!(text, "defaults {{ {} }}\n", all.join(", "));
    }
    let _ = writeln!(text, "input {input}: {:?}\n", sheet.layers[0].dims);
    let blocks: Vec<&Block> = named.iter().map(|(block, _)| block).collect();
    let writer = Writer { sheet, blocks: &blocks, of: None, values: &values };
    if sheet.outputs.len() > 1 {
        text += &writer.statements(&body, None);
        for ((name, _), &at) in sheet.outputs.iter().zip(&body.outputs) {
            let _ = writeln!(text, "output {name} = {}", values[at]);
        }
    } else {
        text += &writer.statements(&body, Some(""));
    }
    text += "}\n";
    Text { text, names }
}

/// Writes a block.
fn definition(sheet: &Sheet, block: &Block, values: &[String]) -> String {
    let parameters = block.parameters.iter().map(|p| p.name.as_str());
    let all: Vec<&str> = std::iter::once(VALUE).chain(parameters).collect();
    let writer = Writer { sheet, blocks: &[], of: Some(block), values };
    let body = writer.statements(&block.body, Some("return "));
    format!("block {}({}) {{\n{body}}}\n\n", block.name, all.join(", "))
}

/// Writes a body.
struct Writer<'a> {
    sheet: &'a Sheet,
    blocks: &'a [&'a Block],
    /// The block whose body it is.
    of: Option<&'a Block>,
    /// The names of its entries' values.
    values: &'a [String],
}

impl Writer<'_> {
    /// Writes all statements; `last` stands before the last, where it is the result.
    fn statements(&self, body: &Body, last: Option<&str>) -> String {
        let statements = body.statements();
        let mut text = String::new();
        for (i, chain) in statements.iter().enumerate() {
            let end = chain[chain.len() - 1];
            // A name that `as` gives is one for the value as well.
            let begin = match last.filter(|_| i + 1 == statements.len()) {
                Some(begin) => begin.to_string(),
                None if body.entries[end].step.alias.is_some() => String::new(),
                None => format!("let {} = ", self.values[end]),
            };
            let _ = writeln!(text, "{begin}{}", self.pipeline(body, chain));
        }
        text
    }

    fn pipeline(&self, body: &Body, chain: &[usize]) -> String {
        let mut text = String::new();
        for (i, &at) in chain.iter().enumerate() {
            let Entry { step, operands } = &body.entries[at];
            let operands: Vec<&str> = operands.iter().map(|&o| self.values[o].as_str()).collect();
            match (i, &operands[..]) {
                (0, [a, b]) if self.is(step, "add") => text = format!("{a} + {b}"),
                (0, [a, b]) if self.is(step, "mul") => text = format!("{a} * {b}"),
                (0, [one]) => text = format!("{one} |> {}", self.call(step, "")),
                (0, several) => text = self.call(step, &several.join(", ")),
                _ => {
                    let _ = write!(text, " |> {}", self.call(step, ""));
                }
            }
            if let Some(name) = &step.alias {
                let _ = write!(text, " as {name}");
            }
        }
        text
    }

    /// The layer at a place of this body.
    fn layer(&self, place: LayerId) -> &Layer {
        &self.sheet.layers[self.of.map_or(0, |block| block.calls[0].start) + place]
    }

    fn is(&self, step: &Step, function: &str) -> bool {
        let What::Layer(place) = step.what else { return false };
        self.layer(place).function == function && self.layer(place).args.0.is_empty()
    }

    /// Writes a call with operands that do not flow in.
    fn call(&self, step: &Step, operands: &str) -> String {
        let (function, args): (&str, Vec<String>) = match &step.what {
            What::Layer(place) => {
                let layer = self.layer(*place);
                (layer.function, layer.args.0.iter().map(|(name, value)| self.argument(*place, name, value)).collect())
            }
            What::Call { block, call, .. } => {
                let given = |p: &Parameter| format!("{} = {}", p.name, argument(&p.values[*call]));
                (&self.blocks[*block].name, self.blocks[*block].parameters.iter().map(given).collect())
            }
            What::Repeat(rounds) => {
                let alias = |step: &Step| step.alias.as_ref().map_or(String::new(), |name| format!(" as {name}"));
                let steps = rounds[0].iter().map(|step| self.call(step, "") + &alias(step));
                return format!("repeat {} {{ {} }}", rounds.len(), steps.collect::<Vec<_>>().join(" |> "));
            }
        };
        let all: Vec<String> = std::iter::once(operands.to_string()).filter(|o| !o.is_empty()).chain(args).collect();
        match all.is_empty() {
            true => function.to_string(),
            false => format!("{function}({})", all.join(", ")),
        }
    }

    /// Writes a layer's argument, which may be a parameter of the block.
    fn argument(&self, place: LayerId, name: &str, value: &Arg) -> String {
        let mut parameters = self.of.iter().flat_map(|block| &block.parameters);
        let parameter = parameters.find(|p| p.arguments.contains(&(place, name)));
        format!("{name} = {}", parameter.map_or_else(|| argument(value), |p| p.name.clone()))
    }
}

fn argument(value: &Arg) -> String {
    match value {
        Arg::Int(v) => v.to_string(),
        Arg::Pair([a, b]) if a == b => a.to_string(),
        Arg::Pair(both) => format!("{both:?}"),
        Arg::Ints(list) => format!("{list:?}"),
        Arg::Float(v) => format!("{v:?}"),
        Arg::Bool(v) => v.to_string(),
        Arg::Word(word) => (*word).into(),
        Arg::Call(call) => call.clone(),
    }
}
