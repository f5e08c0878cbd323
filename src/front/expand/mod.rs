//! Expands a network to a graph: evaluates its statements, blocks and repeats, checks every call against its schema,
//! and adds the nodes. Checking and building are one walk, since shapes are known only where a block is expanded.

mod block;
mod expression;
mod layer;
mod statement;
mod unreached;

use super::ast::{Expr, Name, Network};
use super::codes;
use super::constant::Const;
use super::diag::{Diagnostic, Span};
use super::evaluate::Evaluator;
use super::scope::{Blocks, Origin, Scope, Value};
use super::sink::Diagnostics;
use super::trace::Trace;
use crate::graph::{Graph, NodeId};
use crate::model::Layer;
use crate::ops::check;
use crate::ops::schema::{Schema, Settings};
use std::collections::{HashMap, HashSet};

/// The most layers of an expanded network, and iterations of a repeat.
const MAX_LAYERS: usize = 10_000;
/// The most blocks within blocks.
const MAX_BLOCKS: usize = 64;
/// The most evaluated expressions and statements: ends what would expand for ever.
const FUEL: u64 = 2_000_000;
/// The most elements of one value.
const MAX_ELEMENTS: u64 = check::MOST_ELEMENTS as u64;

/// What an expansion gives.
pub struct Expanded {
    /// The network's graph; its outputs are not set.
    pub graph: Graph,
    /// The network's layers in the order of their expansion.
    pub layers: Vec<Layer>,
    /// The network's parameters, which `data` and `train` may use.
    pub parameters: HashMap<String, Value>,
    /// The network's inputs.
    pub inputs: Vec<(Name, NodeId)>,
    /// Where values come from, for labels.
    pub places: HashMap<NodeId, Span>,
    /// Values that a warning has named already.
    pub excused: HashSet<NodeId>,
    /// Whether a limit was hit: the network is not expanded to its end.
    pub stopped: bool,
    /// The network's own names, outputs and last value.
    pub scope: Scope,
}

/// The state of the walk.
struct Expander<'a> {
    schemas: &'a HashMap<&'static str, Schema>,
    blocks: &'a Blocks<'a>,
    sink: &'a mut Diagnostics,
    /// What is there so far. Its scope is that of the body being expanded.
    out: Expanded,
    /// Names of layers so far, with the place that gave them.
    names: HashMap<String, Span>,
    /// The last number given to a layer, by the stem of its name.
    counters: HashMap<String, usize>,
    fuel: u64,
    /// Nothing of what is walked comes to be: names stand for nothing, and only what is wrong with the text itself is
    /// reported.
    names_only: bool,
    /// What has been walked so.
    walked: HashSet<Span>,
    /// What editors ask for.
    trace: &'a mut Option<Trace>,
}

/// Expands the network with `set` in place of its parameters' defaults; `elsewhere` are names that other sections use.
/// A trace, where one is given, is filled.
pub fn expand(
    network: &Network,
    set: &HashMap<String, Const>,
    elsewhere: &HashSet<&str>,
    schemas: &HashMap<&'static str, Schema>,
    blocks: &Blocks,
    sink: &mut Diagnostics,
    trace: &mut Option<Trace>,
) -> Expanded {
    let out = Expanded {
        graph: Graph::new(&network.name.text),
        layers: vec![],
        parameters: HashMap::new(),
        inputs: vec![],
        places: HashMap::new(),
        excused: HashSet::new(),
        stopped: false,
        scope: Scope::new(String::new(), Settings::default(), &network.body, false),
    };
    let (names, counters) = (HashMap::new(), HashMap::new());
    let (names_only, walked) = (false, HashSet::new());
    let mut expander = Expander { schemas, blocks, sink, out, names, counters, fuel: FUEL, names_only, walked, trace };
    expander.network(network, set, elsewhere);
    expander.out
}

impl Expander<'_> {
    fn network(&mut self, network: &Network, set: &HashMap<String, Const>, elsewhere: &HashSet<&str>) {
        for parameter in &network.parameters {
            let value = match (set.get(&parameter.name.text), &parameter.default) {
                (Some(value), default) => self.set_value(&parameter.name, value, default.as_ref()),
                (None, Some(default)) => self.constant_default(default),
                (None, None) => {
                    let name = &parameter.name.text;
                    let message = format!("the parameter `{name}` has no value");
                    let d = Diagnostic::error(codes::MISSING_ARGUMENT, parameter.name.span, message);
                    self.fail(d.help(format!("give a default, `{name} = …`, or a value with --set {name}=…")))
                }
            };
            let name = &parameter.name.text;
            self.out.parameters.entry(name.clone()).or_insert_with(|| value.clone());
            self.bind_parameter(&parameter.name, value);
            if let Some(variable) = self.out.scope.variables.get_mut(name) {
                variable.used = elsewhere.contains(name.as_str());
            }
        }
        self.statements(&network.body);
        self.warn_unused();
    }

    fn bind_parameter(&mut self, name: &Name, value: Value) {
        self.note(name, &value);
        if let Some(before) = self.out.scope.bind(name, value, Origin::Parameter) {
            self.duplicate(name, before.span);
        }
    }

    /// Notes what a name stands for, for editors.
    fn note(&mut self, name: &Name, value: &Value) {
        if let Some(trace) = self.trace {
            trace.name(name.span, value);
        }
    }

    /// Warns of the names of the current body that nothing has used.
    fn warn_unused(&mut self) {
        for (warning, value) in self.out.scope.unused() {
            if let Value::Node(id) = value {
                self.out.excused.insert(id);
            }
            self.sink.report(warning);
        }
    }

    fn constant_default(&mut self, default: &Expr) -> Value {
        match self.evaluate(default) {
            Value::Node(_) => {
                let message = "a network's parameter must be a constant";
                self.fail(Diagnostic::error(codes::WRONG_KIND, default.span, message))
            }
            value => value,
        }
    }

    /// Returns a value from `--set`, if it is of the default's kind.
    fn set_value(&mut self, name: &Name, value: &Const, default: Option<&Expr>) -> Value {
        let Some(default) = default else { return Value::Const(value.clone()) };
        let like = match self.constant_default(default) {
            Value::Const(like) => like,
            other => return other,
        };
        let fits = match (&like, value) {
            (Const::Float(_), Const::Int(_)) => true,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        if fits {
            return Value::Const(value.clone());
        }
        let (text, given, like) = (&name.text, value.describe(), like.describe());
        let message = format!("--set gives `{text}` the value {given}, but its default is {like}");
        self.fail(Diagnostic::error(codes::BAD_SET, name.span, message).help("give a value of the same kind"))
    }

    /// Reports a name that is given again.
    fn duplicate(&mut self, name: &Name, first: Span) {
        let message = format!("the name `{}` is given twice", name.text);
        let d = Diagnostic::error(codes::DUPLICATE_NAME, name.span, message);
        self.sink.report(d.label(first, "first given here").help("choose another name"));
    }

    /// Counts one step of work; false when there were too many.
    fn spend(&mut self, span: Span) -> bool {
        if self.out.stopped {
            return false;
        }
        if self.fuel == 0 {
            self.too_large(span, "the network takes more than two million steps to expand".into());
            return false;
        }
        self.fuel -= 1;
        true
    }

    /// Reports a limit and ends the expansion.
    fn too_large(&mut self, span: Span, message: String) {
        if !self.out.stopped {
            let d = Diagnostic::error(codes::TOO_LARGE, span, message);
            self.sink.report(d.help("a `repeat` or a block multiplies what is in it"));
            self.out.stopped = true;
        }
    }
}

impl Evaluator for Expander<'_> {
    fn evaluate(&mut self, expr: &Expr) -> Value {
        self.expr(expr, None)
    }

    fn has_name(&self, name: &str) -> bool {
        self.out.scope.variables.contains_key(name)
    }

    fn sink(&mut self) -> &mut Diagnostics {
        self.sink
    }
}
