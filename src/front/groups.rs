//! `groups` in a `train` section: what holds for parameters of certain names.

use super::ast::{Argument, Expr, ExprKind, Section};
use super::bind::Callee;
use super::codes;
use super::diag::{Diagnostic, Span};
use super::expand::Expanded;
use super::function::{Called, FunctionSpec, Table};
use super::sink::Diagnostics;
use super::split::shorten;
use super::suggest;
use super::train::CONVOLUTIONS;
use crate::ops::Operator;
use crate::ops::matrix::is_convolution;
use crate::ops::params::{Bounds, Param};
use ninc_runtime::pattern::fits_parameter;
use ninc_runtime::spec::{Group, Recipe};

/// The key of the groups.
pub const GROUPS: &str = "groups";
const PATTERN: Param<String> = Param::text("pattern", "Names of layers or parameters, `*` for any text.").positional();
const RATE: Param<Option<f64>> =
    Param::float("rate", Bounds::NOT_NEGATIVE, "Factor on the rate, in place of the layer's.").optional();
const DECAY: Param<Option<f64>> =
    Param::float("decay", Bounds::NOT_NEGATIVE, "Factor on the weight decay, in place of the layer's.").optional();
const FREEZE_AFTER: Param<Option<f64>> =
    Param::float("freeze_after", Bounds::POSITIVE, "Epochs after which they stay as they are.").optional();

/// What makes a group.
pub const FUNCTIONS: Table<Group> = Table {
    what: "a group",
    callee: Callee::Function,
    functions: &[FunctionSpec {
        name: "group",
        doc: "What holds for the parameters whose names fit a pattern.",
        params: &[PATTERN.spec, RATE.spec, DECAY.spec, FREEZE_AFTER.spec],
        make: group,
    }],
};

fn group(called: &Called, sink: &mut Diagnostics) -> Option<Group> {
    let (pattern, rate, decay) = (called.get(PATTERN), called.get(RATE), called.get(DECAY));
    let freeze_after = called.get(FREEZE_AFTER);
    if (rate, decay, freeze_after) == (None, None, None) {
        let message = "a `group` that says nothing of its parameters";
        let d = Diagnostic::error(codes::MISSING_ARGUMENT, called.span, message);
        sink.report(d.help("give it `rate`, `decay` or `freeze_after`"));
        return None;
    }
    Some(Group { pattern, rate, decay, freeze_after })
}

/// Does each group fit a parameter that is trained?
pub fn fit(section: &Section, recipe: &Recipe, expanded: &Expanded, sink: &mut Diagnostics) {
    convolutions(section, recipe, expanded, sink);
    let Some(entry) = section.entries.iter().find(|entry| entry.key.text == GROUPS) else { return };
    let items = match &entry.value.kind {
        ExprKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let parameter = |id| match expanded.graph.op(id) {
        Operator::Param(param) if param.trainable => Some(param.name.as_str()),
        _ => None,
    };
    let names: Vec<&str> = expanded.graph.ids().into_iter().filter_map(parameter).collect();
    // As many as there are calls: one that is wrong is reported, and this is not asked.
    for (group, item) in recipe.groups.iter().zip(items) {
        if !names.iter().any(|name| fits_parameter(&group.pattern, name)) {
            let message = format!("the group `{}` fits no parameter that is trained", shorten(&group.pattern));
            let d = Diagnostic::error(codes::UNKNOWN_NAME, item.span, message);
            let suggestion = suggest::help(&group.pattern, &names, "parameters are");
            let fix = suggestion.as_ref().and_then(|s| Some((pattern_of(item)?, format!("\"{}\"", s.near.as_ref()?))));
            let d = d.maybe_help(suggestion.map(|s| s.help));
            sink.report(match fix {
                Some((span, text)) => d.fix(span, text),
                None => d,
            });
        }
    }
}

/// Where the pattern of a group is written as a string.
fn pattern_of(item: &Expr) -> Option<Span> {
    let ExprKind::Call(call) = &item.kind else { return None };
    let text = |argument: &&Argument| matches!(argument.value.kind, ExprKind::Text(_));
    call.arguments.iter().find(text).map(|argument| argument.value.span)
}

/// Is there a weight for the optimiser of convolutions?
fn convolutions(section: &Section, recipe: &Recipe, expanded: &Expanded, sink: &mut Diagnostics) {
    let trained = |id| match expanded.graph.op(id) {
        Operator::Param(param) => param.trainable && is_convolution(&param.dims),
        _ => false,
    };
    let entry = section.entries.iter().find(|entry| entry.key.text == CONVOLUTIONS);
    if let (Some(entry), Some(_), false) = (entry, recipe.convolutions, expanded.graph.ids().into_iter().any(trained)) {
        let message = "the network has no convolution whose weights are trained";
        let d = Diagnostic::error(codes::CONFLICT, entry.key.span, message);
        sink.report(d.help("leave `convolutions` out: `optimizer` is for all parameters then"));
    }
}
