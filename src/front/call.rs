//! Calls of layers and blocks: arguments are bound and checked by the schema alone, so a new operator needs nothing here.

use super::argument;
use super::ast::{Argument, Block, Call, Expr, ExprKind, Name};
use super::codes;
use super::diag::{Diagnostic, Span};
use super::lower::{Lower, MAX_BLOCKS, MAX_ELEMENTS, MAX_LAYERS};
use super::scope::{Origin, Scope, Value};
use super::settings;
use super::suggest;
use crate::graph::{Graph, NodeId};
use crate::model::Layer;
use crate::ops::Operator;
use crate::ops::check::shape;
use crate::ops::params::{Args, Fallback, Kind, ParamSpec};
use crate::ops::schema::{LayerCx, LayerError, Schema, Settings};
use std::collections::{HashMap, HashSet};

/// A call's arguments, sorted by what they are for.
struct Bound<'e> {
    operands: Vec<(NodeId, Span)>,
    params: HashMap<&'static str, &'e Expr>,
    settings: Vec<(&'static str, &'e Expr)>,
    /// Something was wrong: build nothing.
    failed: bool,
}

impl Lower<'_> {
    /// A name for a layer: the one `as` gave (numbered inside a repeat), or its kind with a number.
    pub fn layer_name(&mut self, kind: &str, alias: Option<&Name>, scope: &Scope) -> String {
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

    /// `x + y` and `x * y`.
    pub fn operator(
        &mut self,
        function: &'static str,
        operands: [NodeId; 2],
        span: Span,
        scope: &mut Scope,
        alias: Option<&Name>,
    ) -> Value {
        let Some(schema) = self.schemas.get(function) else {
            let message = format!("values cannot be combined: there is no layer `{function}`");
            return self.report(Diagnostic::error(codes::UNKNOWN_FUNCTION, span, message));
        };
        let args = Args::defaults(schema.params);
        self.build(schema, operands.to_vec(), args, Settings::default(), scope, alias, span, &HashMap::new())
    }

    pub fn layer(
        &mut self,
        schema: &Schema,
        call: &Call,
        piped: Option<(Value, Span)>,
        scope: &mut Scope,
        alias: Option<&Name>,
    ) -> Value {
        let bound = self.bind(schema, call, piped, scope);
        let mut failed = bound.failed;
        let mut args = Args::defaults(schema.params);
        let mut missing = Vec::new();
        for param in schema.params {
            let Some(value) = bound.params.get(param.name) else {
                if param.default == Fallback::Required {
                    missing.push(param.name);
                }
                continue;
            };
            let what = format!("`{}` of `{}`", param.name, schema.name);
            match self.checked(param.kind, value, &what, scope) {
                Some(arg) => args.set(param, arg),
                None => failed = true,
            }
        }
        let mut own = scope.settings.clone();
        let owner = format!("`{}`", schema.name);
        for (name, value) in &bound.settings {
            self.setting(name, value, &owner, &mut own, scope);
        }
        let (least, most) = schema.operands;
        let count = bound.operands.len();
        if !bound.failed && (count < least || count > most) {
            self.wrong_operands(schema, call, count);
            failed = true;
        }
        if !missing.is_empty() && !bound.failed {
            let message = format!("`{}` needs {}", schema.name, suggest::listed(&missing));
            let d = Diagnostic::error(codes::MISSING_ARGUMENT, call.function.span, message);
            let example: Vec<String> = missing.iter().map(|m| format!("{m} = …")).collect();
            self.report(d.help(format!("write `{}({})`", schema.name, example.join(", "))));
        }
        if failed || !missing.is_empty() || self.stopped {
            return Value::Poison;
        }
        let operands = bound.operands.iter().map(|(id, _)| *id).collect();
        let spans = bound.params.iter().map(|(name, value)| (*name, value.span)).collect();
        self.build(schema, operands, args, own, scope, alias, call.span, &spans)
    }

    fn wrong_operands(&mut self, schema: &Schema, call: &Call, count: usize) {
        let (least, most) = schema.operands;
        let wanted = match (least, most) {
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
        let message = format!("`{}` works on {wanted}, but {flows}", schema.name);
        let d = Diagnostic::error(codes::OPERANDS, call.function.span, message);
        let help = if count < least && least == 1 {
            format!("write `x |> {0}` or `{0}(x)`", schema.name)
        } else if least > 1 {
            format!("write `{}(x, y)`", schema.name)
        } else {
            "give the rest by name, or leave it out".into()
        };
        self.report(d.help(help));
    }

    /// Sorts arguments into operands, the layer's own and settings.
    fn bind<'e>(
        &mut self,
        schema: &Schema,
        call: &'e Call,
        piped: Option<(Value, Span)>,
        scope: &mut Scope,
    ) -> Bound<'e> {
        let mut bound = Bound { operands: vec![], params: HashMap::new(), settings: vec![], failed: false };
        match piped {
            Some((Value::Node(id), span)) => bound.operands.push((id, span)),
            Some((Value::Const(value), span)) => {
                self.report(settings::not_a_value(schema.name, &value, span));
                bound.failed = true;
            }
            Some((Value::Poison, _)) => bound.failed = true,
            None => {}
        }
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for argument in &call.arguments {
            match &argument.name {
                Some(name) => {
                    if let Some(first) = seen.insert(&name.text, name.span) {
                        self.report(settings::given_twice(name, first));
                        bound.failed = true;
                    } else {
                        self.named(schema, name, argument, &mut bound, scope);
                    }
                }
                None => {
                    if let Some(name) = self.unnamed(schema, argument, &mut bound, scope) {
                        seen.insert(name, argument.value.span);
                    }
                }
            }
        }
        bound
    }

    fn named<'e>(
        &mut self,
        schema: &Schema,
        name: &Name,
        argument: &'e Argument,
        bound: &mut Bound<'e>,
        scope: &mut Scope,
    ) {
        if let Some(param) = schema.params.iter().find(|p| p.name == name.text) {
            bound.params.insert(param.name, &argument.value);
            return;
        }
        if let Some(setting) = settings::NAMES.iter().find(|n| **n == name.text) {
            if schema.weights {
                bound.settings.push((setting, &argument.value));
                return;
            }
            let message = format!("`{}` has no weights, so `{setting}` means nothing to it", schema.name);
            self.report(Diagnostic::error(codes::NO_WEIGHTS, name.span, message).help("remove it"));
            bound.failed = true;
            return;
        }
        bound.failed = true;
        let mut known: Vec<&str> = schema.params.iter().map(|p| p.name).collect();
        let help = if schema.params.is_empty() && !schema.weights {
            Some(format!("`{}` has no arguments", schema.name))
        } else {
            let own = suggest::help(&name.text, &known, "its arguments are");
            known.extend(settings::NAMES.iter().filter(|_| schema.weights));
            suggest::nearest(&name.text, known).map(|n| format!("did you mean `{n}`?")).or(own)
        };
        let message = format!("`{}` has no argument `{}`", schema.name, super::split::shorten(&name.text));
        self.report(Diagnostic::error(codes::UNKNOWN_ARGUMENT, name.span, message).maybe_help(help));
        // What is given to it may be wrong too; a bare word is no mistake of its own.
        if !matches!(argument.value.kind, ExprKind::Name(_) | ExprKind::Call(_)) {
            self.expr(&argument.value, scope, None);
        }
    }

    /// An argument without a name: a value that flows in, or the next of the layer's arguments that may stand so.
    fn unnamed<'e>(
        &mut self,
        schema: &Schema,
        argument: &'e Argument,
        bound: &mut Bound<'e>,
        scope: &mut Scope,
    ) -> Option<&'static str> {
        let next = schema.params.iter().find(|p| p.positional && !bound.params.contains_key(p.name));
        let word = matches!(next, Some(ParamSpec { kind: Kind::Word(_), .. }));
        if word && matches!(&argument.value.kind, ExprKind::Name(n) if !scope.variables.contains_key(n)) {
            let name = next.map(|p| p.name)?;
            bound.params.insert(name, &argument.value);
            return Some(name);
        }
        match self.expr(&argument.value, scope, None) {
            Value::Node(id) => bound.operands.push((id, argument.value.span)),
            Value::Const(value) => match next {
                Some(param) => {
                    bound.params.insert(param.name, &argument.value);
                    return Some(param.name);
                }
                None => {
                    let message = format!("`{}` takes no further argument without a name", schema.name);
                    let d = Diagnostic::error(codes::TOO_MANY_ARGUMENTS, argument.value.span, message);
                    let takes = |p: &&ParamSpec| argument::check(p.kind, &value, Span::default(), "").is_ok();
                    let open = schema.params.iter().filter(|p| !bound.params.contains_key(p.name)).find(takes);
                    let help = open.map(|p| format!("did you mean `{} = {}`?", p.name, plain(&value)));
                    self.report(d.maybe_help(help));
                    bound.failed = true;
                }
            },
            Value::Poison => bound.failed = true,
        }
        None
    }

    /// Adds the layer's nodes to the graph.
    #[allow(clippy::too_many_arguments)]
    fn build(
        &mut self,
        schema: &Schema,
        operands: Vec<NodeId>,
        args: Args,
        settings: Settings,
        scope: &mut Scope,
        alias: Option<&Name>,
        span: Span,
        spans: &HashMap<&'static str, Span>,
    ) -> Value {
        if self.layers.len() >= MAX_LAYERS {
            self.too_large(span, format!("the network has more than {MAX_LAYERS} layers"));
            return Value::Poison;
        }
        let name = self.layer_name(schema.name, alias, scope);
        let stream = self.layers.len() as u32;
        let mut cx =
            LayerCx { graph: &mut self.graph, operands: operands.clone(), args, settings, name: name.clone(), stream };
        let value = match (schema.build)(&mut cx) {
            Ok(value) => value,
            Err(error) => return self.layer_error(schema, error, &operands, span, spans),
        };
        let (nodes, params) = new_nodes(&self.graph, value, &operands);
        for id in nodes {
            let elements = self.graph.ty(id).dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d as u64));
            if elements.is_none_or(|n| n > MAX_ELEMENTS) {
                let sizes = shape(self.graph.ty(id));
                let message = format!("`{}` makes a value of shape {sizes}: more than 2^31 elements", schema.name);
                self.too_large(span, message);
                return Value::Poison;
            }
        }
        if !operands.contains(&value) {
            self.graph.set_name(value, name.clone());
            self.places.insert(value, span);
        }
        self.layers.push(Layer { name, function: schema.name.to_string(), value, operands, params });
        Value::Node(value)
    }

    fn layer_error(
        &mut self,
        schema: &Schema,
        error: LayerError,
        operands: &[NodeId],
        span: Span,
        spans: &HashMap<&'static str, Span>,
    ) -> Value {
        let place = error.param.and_then(|p| spans.get(p).copied()).unwrap_or(span);
        let message = match error.names_layer {
            true => error.message,
            false => format!("`{}`: {}", schema.name, error.message),
        };
        let mut d = Diagnostic::error(codes::SHAPE, place, message).maybe_help(error.help);
        let mut labelled = HashSet::new();
        for operand in operands {
            if let Some(origin) = self.places.get(operand).filter(|_| labelled.insert(*operand)) {
                d = d.label(*origin, format!("has the shape {}", shape(self.graph.ty(*operand))));
            }
        }
        self.report(d)
    }

    /// Expands a block.
    pub fn block(
        &mut self,
        block: &Block,
        call: &Call,
        piped: Option<(Value, Span)>,
        scope: &mut Scope,
        alias: Option<&Name>,
    ) -> Value {
        let name = &block.name.text;
        if self.calls.iter().any(|(b, _)| b == name) {
            let message = format!("the block `{name}` calls itself");
            let d = Diagnostic::error(codes::RECURSION, call.function.span, message);
            return self.report(d.help("`repeat N { … }` repeats steps a known number of times"));
        }
        if self.calls.len() >= MAX_BLOCKS {
            let message = format!("blocks call blocks more than {MAX_BLOCKS} deep");
            return self.report(Diagnostic::error(codes::TOO_DEEP, call.function.span, message));
        }
        let Some(given) = self.bind_block(block, call, piped, scope) else { return Value::Poison };
        let own = self.layer_name(name, alias, scope);
        let mut inner = Scope::new(format!("{own}."), scope.settings.clone(), &block.body, true);
        self.calls.push((name.clone(), call.span));
        for (parameter, value) in block.parameters.iter().zip(given) {
            let value = match (value, &parameter.default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.expr(default, &mut inner, None),
                (None, None) => Value::Poison,
            };
            if let Some(before) = inner.bind(&parameter.name, value, Origin::Parameter) {
                self.duplicate(&parameter.name, before.span);
            }
        }
        let before = self.layers.len();
        self.statements(&block.body, &mut inner);
        self.warn_unused(&inner);
        self.calls.pop();
        match inner.result {
            Some(Value::Node(value)) => {
                // The value that leaves the block carries the call's name, if it was made within.
                if self.layers[before..].iter().any(|l| l.value == value) {
                    self.graph.set_name(value, own);
                    self.places.insert(value, call.span);
                }
                Value::Node(value)
            }
            Some(other) => other,
            None if self.stopped => Value::Poison,
            None => {
                let d =
                    Diagnostic::error(codes::NO_RESULT, block.name.span, format!("the block `{name}` has no `return`"));
                self.report(d.help("end it with `return …`"))
            }
        }
    }

    /// Values of a block's parameters in order; `None` where the default holds.
    fn bind_block(
        &mut self,
        block: &Block,
        call: &Call,
        piped: Option<(Value, Span)>,
        scope: &mut Scope,
    ) -> Option<Vec<Option<Value>>> {
        let mut values: Vec<Option<(Value, Span)>> = vec![None; block.parameters.len()];
        let mut failed = false;
        let mut unnamed: Vec<(Value, Span)> = piped.into_iter().collect();
        let known: Vec<&str> = block.parameters.iter().map(|p| p.name.text.as_str()).collect();
        let mut named = Vec::new();
        for argument in &call.arguments {
            let value = self.expr(&argument.value, scope, None);
            match &argument.name {
                None => unnamed.push((value, argument.value.span)),
                Some(name) => named.push((name, value)),
            }
        }
        for (i, (value, span)) in unnamed.into_iter().enumerate() {
            if let Some(buffer) = values.get_mut(i) {
                *buffer = Some((value, span));
                continue;
            }
            let most = if known.len() == 1 { "one argument".into() } else { format!("{} arguments", known.len()) };
            let message = format!("the block `{}` takes {most}, this is one more", block.name.text);
            let d = Diagnostic::error(codes::TOO_MANY_ARGUMENTS, span, message);
            self.report(d.label(block.name.span, "defined here"));
            failed = true;
        }
        for (name, value) in named {
            let Some(i) = known.iter().position(|k| *k == name.text) else {
                let message = format!("the block `{}` has no parameter `{}`", block.name.text, name.text);
                let d = Diagnostic::error(codes::UNKNOWN_ARGUMENT, name.span, message);
                let d = d.label(block.name.span, "defined here");
                self.report(d.maybe_help(suggest::help(&name.text, &known, "its parameters are")));
                failed = true;
                continue;
            };
            if let Some((_, first)) = &values[i] {
                self.report(settings::given_twice(name, *first));
                failed = true;
            }
            values[i] = Some((value, name.span));
        }
        let missing: Vec<&str> = (block.parameters.iter().zip(&values))
            .filter(|(p, v)| v.is_none() && p.default.is_none())
            .map(|(p, _)| p.name.text.as_str())
            .collect();
        if !missing.is_empty() && !failed {
            let message = format!("the block `{}` needs {}", block.name.text, suggest::listed(&missing));
            let d = Diagnostic::error(codes::MISSING_ARGUMENT, call.function.span, message);
            self.report(d.label(block.name.span, "defined here"));
            failed = true;
        }
        (!failed).then(|| values.into_iter().map(|v| v.map(|(value, _)| value)).collect())
    }
}

fn plain(value: &super::constant::Const) -> String {
    match value {
        super::constant::Const::List(_) => "[…]".into(),
        other => other.describe().trim_matches('`').to_string(),
    }
}

/// The nodes that a layer added between its operands and its value, and the parameters among them in order of creation.
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
