//! Calls of layers: arguments are bound and checked by the schema alone, so a new operator needs nothing here.

use super::{Expander, MAX_ELEMENTS, MAX_LAYERS};
use crate::front::ast::{Call, ExprKind, Name};
use crate::front::bind::{Callee, Given, Signature, bind};
use crate::front::codes;
use crate::front::diag::{Diagnostic, Span};
use crate::front::evaluate::Evaluator;
use crate::front::scope::{Origin, Value};
use crate::front::settings::Setting;
use crate::graph::{Graph, NodeId};
use crate::model::Layer;
use crate::ops::Operator;
use crate::ops::check::shape;
use crate::ops::params::{Args, Kind};
use crate::ops::schema::{LayerCx, LayerError, Schema, Settings};
use std::collections::{HashMap, HashSet};

/// A layer to be built: its call, checked.
struct Request<'a> {
    schema: &'a Schema,
    operands: Vec<NodeId>,
    args: Args,
    settings: Settings,
    alias: Option<&'a Name>,
    /// The whole call.
    span: Span,
    /// Where the arguments stand.
    places: HashMap<&'a str, Span>,
}

/// A call's arguments, its operands taken out.
struct Sorted<'e> {
    operands: Vec<NodeId>,
    /// What is bound to parameters.
    arguments: Vec<Given<'e>>,
    /// Whether an error was reported.
    failed: bool,
}

impl Expander<'_> {
    /// Makes a name for a layer: the one `as` gave (numbered inside a repeat), or its kind with a number.
    pub(super) fn layer_name(&mut self, kind: &str, alias: Option<&Name>) -> String {
        let scope = &self.out.scope;
        if let Some(alias) = alias.filter(|_| scope.repeats == 0) {
            let name = format!("{}{}", scope.prefix, alias.text);
            if let Some(first) = self.names.insert(name.clone(), alias.span)
                && first != alias.span
            {
                self.duplicate(alias, first);
            }
            return name;
        }
        let stem = format!("{}{}", scope.prefix, alias.map_or(kind, |a| a.text.as_str()));
        loop {
            let counter = self.counters.entry(stem.clone()).or_insert(0);
            *counter += 1;
            let name = format!("{stem}{counter}");
            let short = &name[scope.prefix.len()..];
            let taken =
                scope.reserved.contains(short) || scope.variables.get(short).is_some_and(|v| v.origin == Origin::Input);
            if !taken && !self.names.contains_key(&name) {
                self.names.insert(name.clone(), alias.map_or(Span::default(), |a| a.span));
                return name;
            }
        }
    }

    /// Adds `x + y` or `x * y`.
    pub(super) fn operator(
        &mut self,
        function: &'static str,
        operands: [NodeId; 2],
        span: Span,
        alias: Option<&Name>,
    ) -> Value {
        let Some(schema) = self.schemas.get(function) else {
            let message = format!("values cannot be combined: there is no layer `{function}`");
            return self.fail(Diagnostic::error(codes::UNKNOWN_FUNCTION, span, message));
        };
        let (operands, args) = (operands.to_vec(), Args::defaults(schema.params));
        let (settings, places) = (Settings::default(), HashMap::new());
        self.build(Request { schema, operands, args, settings, alias, span, places })
    }

    /// Expands the call of a layer; `piped` is what flows in.
    pub(super) fn layer(
        &mut self,
        schema: &Schema,
        call: &Call,
        piped: Option<(Value, Span)>,
        alias: Option<&Name>,
    ) -> Value {
        let Sorted { operands, arguments, mut failed } = self.sort(schema, call, piped);
        let signature = Signature::declared(Callee::Layer { weights: schema.weights }, schema.name, schema.params);
        let bound = bind(&signature, None, arguments, self.sink);
        failed |= bound.failed;
        for argument in &bound.unknown {
            // What is given to it may be wrong too; a bare word is not a mistake of its own.
            if !matches!(argument.value.kind, ExprKind::Name(_) | ExprKind::Call(_)) {
                self.evaluate(&argument.value);
            }
        }
        let well_formed = !failed;
        let (own, others) = bound.arguments.split_at(schema.params.len());
        let (mut args, mut places) = (Args::defaults(schema.params), HashMap::new());
        for (param, given) in schema.params.iter().zip(own) {
            let Some(Given { argument, .. }) = given else { continue };
            let what = format!("`{}` of `{}`", param.name, schema.name);
            places.insert(param.name, argument.value.span);
            match self.argument(param.kind, &argument.value, &what) {
                Some(arg) => args.set(param, arg),
                None => failed = true,
            }
        }
        let mut settings = self.out.scope.settings.clone();
        let owner = format!("`{}`", schema.name);
        for (setting, given) in Setting::ALL.into_iter().zip(others) {
            if let Some(Given { argument, .. }) = given {
                setting.read(&argument.value, &owner, &mut settings, self);
            }
        }
        let (least, most) = schema.operands;
        if well_formed && !(least..=most).contains(&operands.len()) {
            self.sink.report(wrong_operands(schema, call, operands.len()));
            failed = true;
        }
        let missing = signature.missing(|i| bound.arguments[i].is_some(), call.function.span);
        if let Some(d) = missing.filter(|_| well_formed) {
            self.sink.report(d);
            failed = true;
        }
        if failed || self.out.stopped {
            return Value::Poison;
        }
        self.build(Request { schema, operands, args, settings, alias, span: call.span, places })
    }

    /// Takes the operands out of a call: what flows in, and the arguments without a name that are values of the
    /// network.
    fn sort<'e>(&mut self, schema: &Schema, call: &'e Call, piped: Option<(Value, Span)>) -> Sorted<'e> {
        let mut sorted = Sorted { operands: vec![], arguments: vec![], failed: false };
        match piped {
            Some((Value::Node(id), _)) => sorted.operands.push(id),
            Some((Value::Const(value), span)) => {
                let (name, value) = (schema.name, value.describe());
                let message = format!("`{name}` works on values of the network, not on {value}");
                self.sink.report(Diagnostic::error(codes::WRONG_KIND, span, message));
                sorted.failed = true;
            }
            Some((Value::Poison, _)) => sorted.failed = true,
            None => {}
        }
        // A bare word may stand for the one parameter that takes a word without its name.
        let word = schema.params.iter().any(|p| p.positional && matches!(p.kind, Kind::Word(_)));
        for argument in &call.arguments {
            let bare = matches!(&argument.value.kind, ExprKind::Name(name) if word && !self.has_name(name));
            if argument.name.is_some() || bare {
                sorted.arguments.push(Given::unevaluated(argument));
                continue;
            }
            match self.evaluate(&argument.value) {
                Value::Node(id) => sorted.operands.push(id),
                Value::Poison => sorted.failed = true,
                value => sorted.arguments.push(Given { argument, value: Some(value) }),
            }
        }
        sorted
    }

    /// Adds the layer's nodes to the graph.
    fn build(&mut self, request: Request) -> Value {
        let Request { schema, operands, args, settings, alias, span, places } = request;
        if self.out.layers.len() >= MAX_LAYERS {
            self.too_large(span, format!("the network has more than {MAX_LAYERS} layers"));
            return Value::Poison;
        }
        let name = self.layer_name(schema.name, alias);
        let (stream, graph) = (self.out.layers.len() as u32, &mut self.out.graph);
        let mut cx = LayerCx { graph, operands: operands.clone(), args, settings, name: name.clone(), stream };
        let value = match (schema.build)(&mut cx) {
            Ok(value) => value,
            Err(error) => {
                let place = error.param.and_then(|p| places.get(p).copied()).unwrap_or(span);
                return self.layer_error(schema, error, &operands, place);
            }
        };
        let graph = &mut self.out.graph;
        let (nodes, params) = new_nodes(graph, value, &operands);
        for id in nodes {
            let elements = graph.ty(id).dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
            if elements.is_none_or(|n| n > MAX_ELEMENTS) {
                let sizes = shape(graph.ty(id));
                let message = format!("`{}` makes a value of shape {sizes}: more than 2^31 elements", schema.name);
                self.too_large(span, message);
                return Value::Poison;
            }
        }
        if !operands.contains(&value) {
            graph.set_name(value, name.clone());
            self.out.places.insert(value, span);
        }
        if let Some(trace) = self.trace {
            trace.layers.push(span);
        }
        self.out.layers.push(Layer { name, function: schema.name.to_string(), value, operands, params });
        Value::Node(value)
    }

    fn layer_error(&mut self, schema: &Schema, error: LayerError, operands: &[NodeId], place: Span) -> Value {
        let message = match error.names_layer {
            true => error.message,
            false => format!("`{}`: {}", schema.name, error.message),
        };
        let mut d = Diagnostic::error(codes::SHAPE, place, message).maybe_help(error.help);
        let mut labelled = HashSet::new();
        for operand in operands {
            if let Some(origin) = self.out.places.get(operand).filter(|_| labelled.insert(*operand)) {
                d = d.label(*origin, format!("has the shape {}", shape(self.out.graph.ty(*operand))));
            }
        }
        self.fail(d)
    }
}

/// Makes the error for a call with `count` operands, which are too few or too many.
fn wrong_operands(schema: &Schema, call: &Call, count: usize) -> Diagnostic {
    let (least, most) = schema.operands;
    let needed = match (least, most) {
        (1, 1) => "one value".to_string(),
        (l, m) if l == m => format!("{l} values"),
        (l, m) if m >= 1000 => format!("at least {l} values"),
        (l, m) => format!("{l} to {m} values"),
    };
    let flows = match count {
        0 => "none flows in".to_string(),
        1 => "one flows in".to_string(),
        n => format!("{n} flow in"),
    };
    let message = format!("`{}` works on {needed}, but {flows}", schema.name);
    let help = if count < least && least == 1 {
        format!("write `x |> {0}` or `{0}(x)`", schema.name)
    } else if least > 1 {
        format!("write `{}(x, y)`", schema.name)
    } else {
        "give the rest by name, or leave it out".into()
    };
    Diagnostic::error(codes::OPERANDS, call.function.span, message).help(help)
}

/// Finds the nodes that a layer added between its operands and its value, and the parameters among them in order of
/// creation.
fn new_nodes(graph: &Graph, value: NodeId, operands: &[NodeId]) -> (Vec<NodeId>, Vec<NodeId>) {
    let mut seen: HashSet<NodeId> = operands.iter().copied().collect();
    let mut stack = vec![value];
    let mut nodes = Vec::new();
    while let Some(id) = stack.pop() {
        if seen.insert(id) {
            nodes.push(id);
            stack.extend(graph.operands(id));
        }
    }
    nodes.sort();
    let params = nodes.iter().copied().filter(|id| matches!(graph.op(*id), Operator::Param(_))).collect();
    (nodes, params)
}
