//! Puts a file's items together: one network, its data and its training; what must hold between them.

use super::Parsed;
use super::ast::{Expr, ExprKind, Item, Network, Section, SectionKind};
use super::codes;
use super::constant::Const;
use super::data::data;
use super::diag::{Diagnostic, Span};
use super::evaluate::{ConstEvaluator, Consts, Evaluator};
use super::expand::{Expanded, expand};
use super::fit;
use super::groups;
use super::parse;
use super::scope::{Blocks, CalledFunctions, Origin, Value};
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest;
use super::trace::Trace;
use super::train::train;
use super::visit::{Visitor, walk_expr};
use crate::graph::NodeId;
use crate::model::Model;
use crate::ops::schema::Schema;
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

fn sort<'a>(parsed: &'a Parsed, schemas: &HashMap<&'static str, Schema>, sink: &mut Diagnostics) -> Items<'a> {
    let mut items = Items::default();
    items.blocks.broken.extend(parsed.broken_blocks.iter().cloned());
    for item in &parsed.items {
        match item {
            Item::Network(network) => match items.network {
                Some(first) => sink.report(again("network", network.name.span, first.name.span)),
                None => items.network = Some(network),
            },
            Item::Section(section) => {
                let (buffer, word) = match section.kind {
                    SectionKind::Data => (&mut items.data, "`data` section"),
                    SectionKind::Train => (&mut items.train, "`train` section"),
                };
                match buffer {
                    Some(first) => sink.report(again(word, section.word, first.word)),
                    None => *buffer = Some(section),
                }
            }
            Item::Block(block) => {
                let name = &block.name;
                if schemas.contains_key(name.text.as_str()) {
                    let message = format!("`{}` is a layer of the language", name.text);
                    sink.report(
                        Diagnostic::error(codes::DUPLICATE_NAME, name.span, message).help("choose another name"),
                    );
                } else if let Some(first) = items.blocks.good.insert(&name.text, block) {
                    let message = format!("there are two blocks `{}`", name.text);
                    let d = Diagnostic::error(codes::DUPLICATE_ITEM, name.span, message);
                    sink.report(d.label(first.name.span, "the first is here").help("choose another name"));
                }
            }
        }
    }
    items
}

/// Names that stand for values.
#[derive(Default)]
struct Names<'a>(HashSet<&'a str>);

impl<'a> Visitor<'a> for Names<'a> {
    fn expr(&mut self, expr: &'a Expr) {
        if let ExprKind::Name(name) = &expr.kind {
            self.0.insert(name);
        }
        walk_expr(self, expr);
    }
}

/// Makes the model; what is wrong beyond syntax is reported. A trace, where one is given, is filled.
pub fn model(
    parsed: &Parsed,
    file: &str,
    set: &[(String, String)],
    trace: &mut Option<Trace>,
) -> (Option<Model>, Vec<Diagnostic>) {
    let schemas: HashMap<&'static str, Schema> = crate::ops::schemas().into_iter().map(|s| (s.name, s)).collect();
    let mut sink = Diagnostics::default();
    let items = sort(parsed, &schemas, &mut sink);
    if !parsed.has_network && parsed.diagnostics.is_empty() {
        let message = format!("{file} has no network");
        let d = Diagnostic::error(codes::NO_NETWORK, Span::new(0, 0), message);
        sink.report(d.help("write `network name { input image: [1, 28, 28] … }`"));
    }
    let mut expanded = items.network.map(|network| {
        let set = settings_of(network, set, &mut sink);
        let mut elsewhere = Names::default();
        for section in items.data.iter().chain(&items.train) {
            section.entries.iter().for_each(|entry| elsewhere.entry(entry));
        }
        expand(network, &set, &elsewhere.0, &schemas, &items.blocks, &mut sink, trace)
    });
    // Of a network with mistakes some layers are missing.
    let complete = !sink.has_errors() && items.blocks.broken.is_empty();
    trace.iter_mut().for_each(|trace| trace.complete = complete && items.network.is_some());
    if let (Some(network), Some(expanded)) = (items.network, &mut expanded) {
        results(network, expanded, &mut sink);
        unused_blocks(&items, &mut sink);
    }
    let mut functions: Vec<&str> = schemas.keys().copied().chain(items.blocks.good.keys().copied()).collect();
    functions.sort_unstable();
    let values = expanded.as_ref().map(|expanded| expanded.parameters.clone()).unwrap_or_default();
    let unread = parsed.has_network && items.network.is_none();
    let consts = Consts { functions, values, unread };
    let data = items.data.and_then(|section| data(section, &consts, &mut sink));
    let train = items.train.and_then(|section| train(section, &consts, &mut sink));
    if let (Some(section), None, Some(network)) = (items.train, items.data, items.network) {
        let message = format!("`{}` has a `train` section but no `data`", network.name.text);
        let d = Diagnostic::warning(codes::NO_DATA, section.word, message);
        sink.report(d.help("add `data { source = … }`"));
    }
    if let Some(expanded) = &expanded {
        fit::one_class(expanded, &mut sink);
        if let (Some(section), Some(data)) = (items.data, &data) {
            fit::data(section, data, expanded, &mut sink);
            fit::colourless(section, data, expanded, &mut sink);
            fit::mirrored(section, data, expanded, &mut sink);
        }
        // Where something else is wrong, these would be echoes.
        if !sink.has_errors() {
            fit::one_input(expanded, &mut sink);
            items.train.into_iter().for_each(|section| fit::trainable(section, expanded, &mut sink));
        }
        if let (Some(section), Some(recipe)) = (items.train, &train) {
            fit::class_weights(section, recipe, expanded, &mut sink);
            if complete {
                groups::fit(section, recipe, expanded, &mut sink);
            }
        }
    }
    let name = items.network.map_or("", |n| n.name.text.as_str()).to_string();
    let model = expanded.map(|expanded| Model {
        name,
        graph: expanded.graph,
        layers: expanded.layers,
        data,
        train,
        formats: None,
    });
    (model, sink.into_vec())
}

/// Reads `--set` pairs as constants; wrong ones are reported at the network.
fn settings_of(network: &Network, set: &[(String, String)], sink: &mut Diagnostics) -> HashMap<String, Const> {
    let known: Vec<&str> = network.parameters.iter().map(|p| p.name.text.as_str()).collect();
    let mut out = HashMap::new();
    for (name, text) in set {
        let Some(parameter) = network.parameters.iter().find(|p| p.name.text == *name) else {
            let message = format!("the network `{}` has no parameter `{name}` for --set", network.name.text);
            let d = Diagnostic::error(codes::BAD_SET, network.name.span, message);
            let help = suggest::help(name, &known, "its parameters are").map(|s| s.help);
            sink.report(d.maybe_help(help.or(Some("it has no parameters".into()))));
            continue;
        };
        match setting(text) {
            Some(value) => {
                out.insert(name.clone(), value);
            }
            None => {
                let message = format!("--set {name}={} does not give a constant", shorten(text));
                let d = Diagnostic::error(codes::BAD_SET, parameter.name.span, message);
                sink.report(d.help("give a number, `true`, `false`, a word or a list"));
            }
        }
    }
    out
}

/// Do two texts give a parameter the same value? Each is read as `--set` reads it; what gives none is compared as text.
pub fn same_setting(a: &str, b: &str) -> bool {
    match (setting(a), setting(b)) {
        (Some(a), Some(b)) => a.same(&b),
        _ => a == b,
    }
}

/// Reads what `--set` gives: a constant, or a bare word, since a shell eats the quotes of a string.
fn setting(text: &str) -> Option<Const> {
    let word = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|c: char| c.is_ascii_alphabetic());
    set_constant(text).or_else(|| word.then(|| Const::Text(text.into())))
}

/// Reads the constant that a text is, if it is one. What is wrong with it is reported by the caller, who knows the
/// option.
fn set_constant(text: &str) -> Option<Const> {
    let (expr, mut sink) = (parse::constant(text)?, Diagnostics::default());
    ConstEvaluator { consts: &Consts::default(), sink: &mut sink }.evaluate(&expr).constant()
}

/// Returns the network's outputs: those that it names, or its last value.
fn results(network: &Network, expanded: &mut Expanded, sink: &mut Diagnostics) {
    if expanded.stopped {
        return;
    }
    let (name, scope) = (&network.name, &expanded.scope);
    if expanded.inputs.is_empty() && !scope.variables.values().any(|v| v.origin == Origin::Input) {
        let message = format!("the network `{}` has no input", name.text);
        let d = Diagnostic::error(codes::NO_RESULT, name.span, message);
        sink.report(d.help("write for example `input image: [3, 32, 32]`"));
    }
    expanded.graph.outputs = match &scope.last {
        _ if !scope.outputs.is_empty() => scope.outputs.iter().map(|(name, id)| (name.text.clone(), *id)).collect(),
        Some((Value::Node(id), alias, _)) => vec![(alias.clone().unwrap_or_else(|| "output".into()), *id)],
        Some((Value::Poison, ..)) => return,
        _ if sink.has_errors() => return,
        _ => {
            let message = format!("the network `{}` gives no value", name.text);
            let d = Diagnostic::error(codes::NO_RESULT, name.span, message);
            sink.report(d.help("end it with a pipeline, `image |> …`, or with `output name = …`"));
            return;
        }
    };
    dead_ends(expanded, sink);
}

/// Warns of layers whose value goes nowhere.
fn dead_ends(expanded: &Expanded, sink: &mut Diagnostics) {
    let Expanded { graph, layers, excused, places, .. } = expanded;
    let mut reached: HashSet<NodeId> = HashSet::new();
    let mut stack: Vec<NodeId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    while let Some(id) = stack.pop() {
        if reached.insert(id) {
            stack.extend(graph.operands(id));
        }
    }
    let used: HashSet<NodeId> = layers.iter().flat_map(|l| l.operands.iter().copied()).collect();
    let known = |id: &NodeId| reached.contains(id) || used.contains(id) || excused.contains(id);
    for layer in layers.iter().filter(|layer| !known(&layer.value)) {
        let span = places.get(&layer.value).copied().unwrap_or_default();
        let message = format!("no result depends on the value of `{}`", layer.name);
        sink.report(Diagnostic::warning(codes::UNUSED, span, message).help("use it, or make it an `output`"));
    }
}

/// Warns of blocks that nothing calls: nothing in them is checked.
fn unused_blocks(items: &Items, sink: &mut Diagnostics) {
    let mut called = CalledFunctions::default();
    for body in items.network.iter().map(|n| &n.body).chain(items.blocks.good.values().map(|b| &b.body)) {
        called.body(body);
    }
    let mut unused: Vec<_> = items.blocks.good.values().filter(|b| !called.0.contains(b.name.text.as_str())).collect();
    unused.sort_by_key(|b| b.span.start);
    for block in unused {
        let message = format!("the block `{}` is never called, so it is not checked", block.name.text);
        sink.report(Diagnostic::warning(codes::UNUSED, block.name.span, message).help("call it or remove it"));
    }
}
