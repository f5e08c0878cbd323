//! Puts a file's items together: one network, its data and its training; what must hold between them.

use super::Parsed;
use super::ast::{Item, Network, Section, SectionKind};
use super::codes;
use super::constant::Const;
use super::data::{examples, source_name};
use super::diag::{Diagnostic, Span};
use super::lower::Lower;
use super::parse;
use super::scope::{Blocks, Scope, Value};
use super::section::empty_scope;
use super::suggest;
use crate::graph::NodeId;
use crate::model::Model;
use crate::ops::check::shape;
use crate::ops::schema::Schema;
use ninc_runtime::spec::DataSpec;
use std::collections::{HashMap, HashSet};

/// The items of a file, each kind where it belongs.
#[derive(Default)]
struct Items<'a> {
    network: Option<&'a Network>,
    data: Option<&'a Section>,
    train: Option<&'a Section>,
    blocks: Blocks<'a>,
}

fn again(word: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error(codes::DUPLICATE_ITEM, span, format!("a file has one {word}, this is another"))
        .label(first, "the first is here")
        .help("remove one of the two")
}

fn sort<'a>(parsed: &'a Parsed, schemas: &HashMap<&'static str, Schema>, out: &mut Vec<Diagnostic>) -> Items<'a> {
    let mut items = Items::default();
    items.blocks.broken.extend(parsed.broken_blocks.iter().cloned());
    for item in &parsed.items {
        match item {
            Item::Network(network) => match items.network {
                Some(first) => out.push(again("network", network.name.span, first.name.span)),
                None => items.network = Some(network),
            },
            Item::Section(section) => {
                let (buffer, word) = match section.kind {
                    SectionKind::Data => (&mut items.data, "`data` section"),
                    SectionKind::Train => (&mut items.train, "`train` section"),
                };
                match buffer {
                    Some(first) => out.push(again(word, section.word, first.word)),
                    None => *buffer = Some(section),
                }
            }
            Item::Block(block) => {
                let name = &block.name;
                if schemas.contains_key(name.text.as_str()) {
                    let message = format!("`{}` is a layer of the language", name.text);
                    out.push(Diagnostic::error(codes::DUPLICATE_NAME, name.span, message).help("choose another name"));
                } else if let Some(first) = items.blocks.good.insert(&name.text, block) {
                    let message = format!("there are two blocks `{}`", name.text);
                    let d = Diagnostic::error(codes::DUPLICATE_ITEM, name.span, message);
                    out.push(d.label(first.name.span, "the first is here").help("choose another name"));
                }
            }
        }
    }
    items
}

/// The model, and what is wrong beyond syntax.
pub fn model(parsed: &Parsed, file: &str, set: &[(String, String)]) -> (Option<Model>, Vec<Diagnostic>) {
    let schemas: HashMap<&'static str, Schema> = crate::ops::schemas().into_iter().map(|s| (s.name, s)).collect();
    let mut diagnostics = Vec::new();
    let items = sort(parsed, &schemas, &mut diagnostics);
    if !parsed.has_network && parsed.diagnostics.is_empty() {
        let message = format!("{file} has no network");
        let d = Diagnostic::error(codes::NO_NETWORK, Span::new(0, 0), message);
        diagnostics.push(d.help("write `network name { input image: [1, 28, 28] … }`"));
    }
    let name = items.network.map_or("", |n| n.name.text.as_str());
    let mut lower = Lower::new(name, &schemas, &items.blocks);
    let scope = items.network.map(|network| {
        let set = settings_of(network, set, &mut lower);
        lower.network(network, &set)
    });
    if let (Some(network), Some(scope)) = (items.network, &scope) {
        results(network, scope, &mut lower);
        unused_blocks(&items, &mut lower);
    }
    let data = items.data.and_then(|section| lower.data(section));
    let train = items.train.and_then(|section| lower.train(section));
    if let (Some(section), None, Some(network)) = (items.train, items.data, items.network) {
        let message = format!("`{}` has a `train` section but no `data`", network.name.text);
        let d = Diagnostic::warning(codes::NO_DATA, section.word, message);
        lower.report(d.help("add `data { source = … }`"));
    }
    if let (Some(section), Some(data)) = (items.data, &data) {
        fit(section, data, &mut lower);
    }
    let several = lower.inputs.len() > 1 && items.train.is_some();
    if let Some((second, _)) = lower.inputs.get(1).filter(|_| several).cloned() {
        let first = lower.inputs[0].0.span;
        let d =
            Diagnostic::error(codes::CONFLICT, second.span, "a network that is trained has one input, this is another");
        lower.report(d.label(first, "the first is here").help("join inputs outside, or leave `train` out"));
    }
    diagnostics.append(&mut lower.diagnostics);
    let model = Model { name: name.to_string(), graph: lower.graph, layers: lower.layers, data, train };
    (items.network.map(|_| model), diagnostics)
}

/// `--set` pairs as constants; wrong ones are reported at the network.
fn settings_of(network: &Network, set: &[(String, String)], lower: &mut Lower) -> HashMap<String, Const> {
    let known: Vec<&str> = network.parameters.iter().map(|p| p.name.text.as_str()).collect();
    let mut out = HashMap::new();
    for (name, text) in set {
        let Some(parameter) = network.parameters.iter().find(|p| p.name.text == *name) else {
            let message = format!("the network `{}` has no parameter `{name}` for --set", network.name.text);
            let d = Diagnostic::error(codes::BAD_SET, network.name.span, message);
            let help = suggest::help(name, &known, "its parameters are");
            lower.report(d.maybe_help(help.or(Some("it has no parameters".into()))));
            continue;
        };
        let before = lower.diagnostics.len();
        let value = parse::constant(text).map(|expr| lower.expr(&expr, &mut empty_scope(), None));
        let failed = lower.diagnostics.len() > before;
        lower.diagnostics.truncate(before);
        match value {
            Some(Value::Const(value)) if !failed => {
                out.insert(name.clone(), value);
            }
            // A bare word: a shell eats the quotes of a string.
            _ if text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && text.starts_with(|c: char| c.is_ascii_alphabetic()) =>
            {
                out.insert(name.clone(), Const::Text(text.as_str().into()));
            }
            _ => {
                let message = format!("--set {name}={} gives no constant", super::split::shorten(text));
                let d = Diagnostic::error(codes::BAD_SET, parameter.name.span, message);
                lower.report(d.help("give a number, `true`, `false`, a word or a list"));
            }
        }
    }
    out
}

/// The network's outputs: those that it names, or its last value.
fn results(network: &Network, scope: &Scope, lower: &mut Lower) {
    if lower.stopped {
        return;
    }
    if lower.inputs.is_empty() {
        let broken = scope.variables.values().any(|v| v.origin == super::scope::Origin::Input);
        if !broken {
            let message = format!("the network `{}` has no input", network.name.text);
            let d = Diagnostic::error(codes::NO_RESULT, network.name.span, message);
            lower.report(d.help("write for example `input image: [3, 32, 32]`"));
        }
    }
    if !scope.outputs.is_empty() {
        lower.graph.outputs = scope.outputs.iter().map(|(name, id)| (name.text.clone(), *id)).collect();
    } else {
        match &scope.last {
            Some((Value::Node(id), alias, _)) => {
                lower.graph.outputs = vec![(alias.clone().unwrap_or_else(|| "output".into()), *id)];
            }
            Some((Value::Poison, ..)) => return,
            _ if lower.diagnostics.iter().any(|d| d.severity == super::diag::Severity::Error) => return,
            _ => {
                let message = format!("the network `{}` gives no value", network.name.text);
                let d = Diagnostic::error(codes::NO_RESULT, network.name.span, message);
                lower.report(d.help("end it with a pipeline, `image |> …`, or with `output name = …`"));
                return;
            }
        }
    }
    dead_ends(lower);
}

/// Warns of layers whose value goes nowhere.
fn dead_ends(lower: &mut Lower) {
    let mut reached: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = lower.graph.outputs.iter().map(|(_, id)| *id).collect();
    while let Some(id) = stack.pop() {
        if reached.insert(id) {
            stack.extend(lower.graph.operands(id));
        }
    }
    let used: HashSet<NodeId> = lower.layers.iter().flat_map(|l| l.operands.iter().copied()).collect();
    let mut loose: Vec<(Span, String)> = Vec::new();
    for layer in &lower.layers {
        let loose_end = !reached.contains(&layer.value) && !used.contains(&layer.value);
        if loose_end && !lower.excused.contains(&layer.value) {
            let span = lower.places.get(&layer.value).copied().unwrap_or_default();
            loose.push((span, layer.name.clone()));
        }
    }
    for (span, name) in loose {
        let message = format!("no result depends on the value of `{name}`");
        lower.report(Diagnostic::warning(codes::UNUSED, span, message).help("use it, or make it an `output`"));
    }
}

/// Warns of blocks that nothing calls: nothing in them is checked.
fn unused_blocks(items: &Items, lower: &mut Lower) {
    let mut called = HashSet::new();
    if let Some(network) = items.network {
        super::scope::called_functions(&network.body, &mut called);
    }
    for block in items.blocks.good.values() {
        super::scope::called_functions(&block.body, &mut called);
    }
    let mut unused: Vec<_> = items.blocks.good.values().filter(|b| !called.contains(b.name.text.as_str())).collect();
    unused.sort_by_key(|b| b.span.start);
    for block in unused {
        let message = format!("the block `{}` is never called, so it is not checked", block.name.text);
        lower.report(Diagnostic::warning(codes::UNUSED, block.name.span, message).help("call it or remove it"));
    }
}

/// Do the data fit the network's input and result?
fn fit(section: &Section, data: &DataSpec, lower: &mut Lower) {
    let Some((dims, classes)) = examples(&data.source) else { return };
    let place = section.entries.iter().find(|e| e.key.text == "source").map_or(section.word, |e| e.value.span);
    let source = source_name(&data.source);
    if let [(name, id)] = lower.inputs.as_slice() {
        let ty = lower.graph.ty(*id).clone();
        if ty.dims != dims {
            let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
            let message = format!(
                "`{source}` gives images of the shape [{}], but `{}` is {}",
                sizes.join(", "),
                name.text,
                shape(&ty)
            );
            let d = Diagnostic::error(codes::DATA_SHAPE, place, message);
            let (span, help) = (name.span, format!("write `input {}: [{}]`", name.text, sizes.join(", ")));
            lower.report(d.label(span, "the input").help(help));
        }
    }
    if let [(_, id)] = lower.graph.outputs.as_slice() {
        let ty = lower.graph.ty(*id).clone();
        if ty.elements() < classes {
            let message = format!("`{source}` has {classes} classes, but the result has the shape {}", shape(&ty));
            let mut d = Diagnostic::error(codes::DATA_SHAPE, place, message);
            if let Some(span) = lower.places.get(id) {
                d = d.label(*span, "the result");
            }
            lower.report(d.help("give the last layer a channel or feature for each class"));
        }
    }
}
