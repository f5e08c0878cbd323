//! A network's text: one pipeline where values flow one after the other, `let` where a value has several users.

use super::names::{Names, names};
use super::{Arg, Args, Layer, LayerId, Sheet, WEIGHT, Written};
use std::fmt::Write;

/// Layers that begin a statement of their own: those with several users, results beside others, and operands of layers
/// with several operands.
fn heads(sheet: &Sheet) -> Vec<bool> {
    let mut ends = sheet.uses().iter().map(|&uses| uses != 1).collect::<Vec<_>>();
    for layer in sheet.layers.iter().filter(|layer| layer.operands.len() > 1) {
        layer.operands.iter().for_each(|&o| ends[o] = true);
    }
    sheet.outputs.iter().for_each(|&(_, id)| ends[id] = true);
    ends[0] = true;
    ends
}

/// Puts the layers of each statement together, statements in the order of what they need, the next of a chain as soon
/// as possible.
fn statements(sheet: &Sheet) -> Vec<Vec<LayerId>> {
    let ends = heads(sheet);
    let mut all = Vec::new();
    for end in (1..sheet.layers.len()).filter(|&id| ends[id]) {
        let mut chain = vec![end];
        let mut at = end;
        while let [operand] = sheet.layers[at].operands[..] {
            if ends[operand] {
                break;
            }
            chain.push(operand);
            at = operand;
        }
        chain.reverse();
        all.push(chain);
    }
    all
}

/// Writes a network; its tensors move out of it.
pub fn write(mut sheet: Sheet) -> Written {
    let sheet = &mut sheet;
    let statements = statements(sheet);
    let order: Vec<LayerId> = statements.iter().flatten().copied().collect();
    let names = names(sheet, &order);
    let Args(defaults) = sheet.shared_settings();
    let mut text = format!("network {} {{\n", sheet.name);
    if !defaults.is_empty() {
        let all: Vec<String> = defaults.iter().map(|(name, value)| format!("{name} = {}", argument(value))).collect();
        let _ = writeln!(text, "defaults {{ {} }}\n", all.join(", "));
    }
    let _ = writeln!(text, "input {}: {:?}\n", names.full[0], sheet.layers[0].dims);
    let several = sheet.outputs.len() > 1;
    let last = statements.len().saturating_sub(1);
    for (i, chain) in statements.iter().enumerate() {
        let end = chain[chain.len() - 1];
        let pipeline = pipeline(sheet, chain, &names);
        // A name that `as` gives is one for the value as well; the last value is the result.
        let begin = match names.given[end] || (i == last && !several) {
            true => String::new(),
            false => format!("let {} = ", names.full[end]),
        };
        let _ = writeln!(text, "{begin}{pipeline}");
    }
    if several {
        for (name, id) in &sheet.outputs {
            let _ = writeln!(text, "output {name} = {}", names.full[*id]);
        }
    }
    text += "}\n";
    let products = sheet.layers.iter().zip(&names.full).flat_map(|(layer, name)| {
        let stem = move |weight: &str| format!("{name}.{weight}").trim_end_matches(WEIGHT).trim_end_matches('.').into();
        layer.bytes.products.iter().map(move |(weight, stated)| (stem(weight), stated.clone()))
    });
    let stated = products.collect();
    let tensors = sheet.layers.iter_mut().zip(&names.full).flat_map(|(layer, name)| {
        std::mem::take(&mut layer.params).into_iter().map(move |(suffix, tensor)| (format!("{name}.{suffix}"), tensor))
    });
    Written { text, tensors: tensors.collect(), stated, quantised: sheet.quantised }
}

fn pipeline(sheet: &Sheet, chain: &[LayerId], names: &Names) -> String {
    let mut text = String::new();
    for (i, &id) in chain.iter().enumerate() {
        let layer = &sheet.layers[id];
        let operands: Vec<&str> = layer.operands.iter().map(|&o| names.full[o].as_str()).collect();
        match (i, &operands[..]) {
            (0, [a, b]) if layer.function == "add" && layer.args.0.is_empty() => text = format!("{a} + {b}"),
            (0, [a, b]) if layer.function == "mul" && layer.args.0.is_empty() => text = format!("{a} * {b}"),
            (0, [one]) => text = format!("{one} |> {}", call(layer, "")),
            (0, several) => text = call(layer, &several.join(", ")),
            _ => {
                let _ = write!(text, " |> {}", call(layer, ""));
            }
        }
        if names.given[id] {
            let _ = write!(text, " as {}", names.full[id]);
        }
    }
    text
}

/// Writes a call with operands that do not flow in.
fn call(layer: &Layer, operands: &str) -> String {
    let Args(args) = &layer.args;
    let args = args.iter().map(|(name, value)| format!("{name} = {}", argument(value)));
    let all: Vec<String> = std::iter::once(operands.to_string()).filter(|o| !o.is_empty()).chain(args).collect();
    match all.is_empty() {
        true => layer.function.to_string(),
        false => format!("{}({})", layer.function, all.join(", ")),
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
