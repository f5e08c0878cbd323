//! Expands a network: evaluates its statements, blocks and repeats, checks every call against its schema, and adds the
//! nodes to the graph. Checking and building are one walk, since shapes are known only where a block is expanded.

use super::argument;
use super::ast::{BinOp, Call, Entry, Expr, ExprKind, Name, Network, Step, StepKind, Stmt, StmtKind};
use super::codes;
use super::constant::{self, Const, Problem};
use super::diag::{Diagnostic, Severity, Span};
use super::scope::{Blocks, Origin, Scope, Value, unused_warning};
use super::settings;
use super::suggest;
use crate::graph::{Graph, NodeId};
use crate::model::Layer;
use crate::ops::params::{Arg, Kind};
use crate::ops::schema::{Schema, Settings};
use crate::ops::source;
use ninc_runtime::plan::Role;
use std::collections::{HashMap, HashSet};

/// Layers of an expanded network, and rounds of a repeat.
pub const MAX_LAYERS: usize = 10_000;
/// Blocks within blocks.
pub const MAX_BLOCKS: usize = 64;
/// Evaluated expressions and statements: ends what would expand for ever.
const FUEL: u64 = 2_000_000;
/// Items of a list.
const MAX_LIST: usize = 1_000;
/// Elements of one value: 8 GiB of floats.
pub const MAX_ELEMENTS: u64 = 1 << 31;

/// The walk's state.
pub struct Lower<'a> {
    pub schemas: &'a HashMap<&'static str, Schema>,
    pub blocks: &'a Blocks<'a>,
    pub graph: Graph,
    pub layers: Vec<Layer>,
    pub diagnostics: Vec<Diagnostic>,
    /// `(code, start, end)` of what has been said: a body expanded twice has its mistakes once.
    said: HashSet<(&'static str, Span)>,
    pub inputs: Vec<(Name, NodeId)>,
    /// Where values come from, for labels.
    pub places: HashMap<NodeId, Span>,
    /// Names of layers so far, with the place that gave them.
    pub names: HashMap<String, Span>,
    pub counters: HashMap<String, usize>,
    /// Blocks being expanded, with their calls.
    pub calls: Vec<(String, Span)>,
    fuel: u64,
    /// Values that a warning has named already.
    pub excused: HashSet<NodeId>,
    /// A limit is hit: expand nothing more.
    pub stopped: bool,
}

impl<'a> Lower<'a> {
    pub fn new(name: &str, schemas: &'a HashMap<&'static str, Schema>, blocks: &'a Blocks<'a>) -> Lower<'a> {
        Lower {
            schemas,
            blocks,
            graph: Graph::new(name),
            layers: vec![],
            diagnostics: vec![],
            said: HashSet::new(),
            inputs: vec![],
            places: HashMap::new(),
            names: HashMap::new(),
            counters: HashMap::new(),
            calls: vec![],
            fuel: FUEL,
            excused: HashSet::new(),
            stopped: false,
        }
    }

    /// Reports, with the call that is being expanded, unless the same was said of the same place.
    pub fn report(&mut self, mut diagnostic: Diagnostic) -> Value {
        if self.said.insert((diagnostic.code, diagnostic.span)) {
            if let Some((block, call)) = self.calls.last().filter(|_| diagnostic.severity == Severity::Error) {
                diagnostic.labels.push((*call, format!("in this call of `{block}`")));
            }
            self.diagnostics.push(diagnostic);
        }
        Value::Poison
    }

    /// Counts a piece of work; false when there has been too much of it.
    fn spend(&mut self, span: Span) -> bool {
        if self.stopped {
            return false;
        }
        if self.fuel == 0 {
            self.too_large(span, "the network takes more than two million steps to expand".into());
            return false;
        }
        self.fuel -= 1;
        true
    }

    pub fn too_large(&mut self, span: Span, message: String) {
        if !self.stopped {
            let d = Diagnostic::error(codes::TOO_LARGE, span, message);
            self.report(d.help("a `repeat` or a block multiplies what is in it"));
            self.stopped = true;
        }
    }

    /// Expands the network with `set` in place of its parameters' defaults.
    pub fn network(&mut self, network: &Network, set: &HashMap<String, Const>) -> Scope {
        let mut scope = Scope::new(String::new(), Settings::default(), &network.body, false);
        for parameter in &network.parameters {
            let value = match (set.get(&parameter.name.text), &parameter.default) {
                (Some(value), default) => self.set_value(&parameter.name, value, default.as_ref(), &mut scope),
                (None, Some(default)) => self.constant_default(default, &mut scope),
                (None, None) => {
                    let name = &parameter.name.text;
                    let message = format!("the parameter `{name}` has no value");
                    let d = Diagnostic::error(codes::MISSING_ARGUMENT, parameter.name.span, message);
                    self.report(d.help(format!("give a default, `{name} = …`, or a value with --set {name}=…")))
                }
            };
            if let Some(before) = scope.bind(&parameter.name, value, Origin::Parameter) {
                self.duplicate(&parameter.name, before.span);
            }
        }
        self.statements(&network.body, &mut scope);
        self.warn_unused(&scope);
        scope
    }

    pub fn warn_unused(&mut self, scope: &Scope) {
        for (warning, value) in scope.unused() {
            if let Value::Node(id) = value {
                self.excused.insert(id);
            }
            self.report(warning);
        }
    }

    fn constant_default(&mut self, default: &Expr, scope: &mut Scope) -> Value {
        match self.expr(default, scope, None) {
            Value::Node(_) => {
                let message = "a network's parameter must be a constant";
                self.report(Diagnostic::error(codes::WRONG_KIND, default.span, message))
            }
            value => value,
        }
    }

    /// A value from `--set`, if it is of the default's kind.
    fn set_value(&mut self, name: &Name, value: &Const, default: Option<&Expr>, scope: &mut Scope) -> Value {
        let Some(default) = default else { return Value::Const(value.clone()) };
        let like = match self.constant_default(default, scope) {
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
        let message = format!(
            "--set gives `{}` the value {}, but its default is {}",
            name.text,
            value.describe(),
            like.describe()
        );
        let d = Diagnostic::error(codes::BAD_SET, name.span, message);
        self.report(d.help("give a value of the same kind"))
    }

    pub fn duplicate(&mut self, name: &Name, first: Span) {
        let message = format!("the name `{}` is given twice", name.text);
        let d = Diagnostic::error(codes::DUPLICATE_NAME, name.span, message);
        self.report(d.label(first, "first given here").help("choose another name"));
    }

    pub fn statements(&mut self, body: &[Stmt], scope: &mut Scope) {
        for statement in body {
            if !self.spend(statement.span) {
                return;
            }
            if scope.result.is_some() {
                let d = Diagnostic::error(codes::MISPLACED, statement.span, "nothing can follow `return`");
                self.report(d.help("move it before the `return`, or remove it"));
                return;
            }
            self.statement(statement, scope);
        }
    }

    fn statement(&mut self, statement: &Stmt, scope: &mut Scope) {
        match &statement.kind {
            StmtKind::Defaults(entries) => self.defaults(entries, scope),
            StmtKind::Input { name, dims } => self.input(name, dims, statement.span, scope),
            StmtKind::Let { name, value } => {
                let result = self.expr(value, scope, None);
                self.bind_let(name, result.clone(), scope);
                scope.last = Some((result, alias_of(value), name.span));
            }
            StmtKind::Output { name, value } => self.output(name, value, statement.span, scope),
            StmtKind::Return(value) => {
                if !scope.is_block || scope.repeats > 0 {
                    let message = if scope.is_block {
                        "`return` cannot stand in a `repeat`"
                    } else {
                        "a network has no `return`"
                    };
                    let d = Diagnostic::error(codes::MISPLACED, statement.span, message);
                    let help = if scope.is_block {
                        "put it after the `repeat`"
                    } else {
                        "name a result with `output name = …`"
                    };
                    self.report(d.help(help));
                }
                scope.result = Some(self.expr(value, scope, None));
                if !scope.is_block {
                    scope.result = None;
                }
            }
            StmtKind::Repeat { count, body } => {
                let Some(rounds) = self.count(count, scope) else { return };
                scope.repeats += 1;
                for _ in 0..rounds {
                    if !self.spend(statement.span) {
                        break;
                    }
                    self.statements(body, scope);
                }
                scope.repeats -= 1;
            }
            StmtKind::Expr(expr) => {
                let value = self.expr(expr, scope, None);
                if let Value::Const(_) = value {
                    let message = "this constant has no effect";
                    let d = Diagnostic::error(codes::MISPLACED, expr.span, message);
                    self.report(d.help("give it a name with `let`, or remove it"));
                    return;
                }
                scope.last = Some((value, alias_of(expr), expr.span));
            }
        }
    }

    fn bind_let(&mut self, name: &Name, value: Value, scope: &mut Scope) {
        match scope.variables.get(&name.text) {
            Some(before) if before.origin == Origin::Input => self.duplicate(name, before.span),
            // A value that another takes the place of before anybody looks at it.
            Some(before) if !before.used && before.origin == Origin::Let && before.value != Value::Poison => {
                if let Some(warning) = unused_warning(&name.text, before) {
                    self.report(warning);
                }
            }
            _ => {}
        }
        scope.bind(name, value, Origin::Let);
    }

    fn defaults(&mut self, entries: &[Entry], scope: &mut Scope) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for entry in entries {
            let key = entry.key.text.as_str();
            if let Some(first) = seen.insert(key, entry.key.span) {
                self.report(settings::given_twice(&entry.key, first));
                continue;
            }
            let Some(setting) = settings::NAMES.iter().find(|n| **n == key) else {
                let message = format!("`defaults` has no `{key}`");
                let d = Diagnostic::error(codes::UNKNOWN_KEY, entry.key.span, message);
                self.report(d.maybe_help(suggest::help(key, &settings::NAMES, "possible are")));
                continue;
            };
            let mut current = scope.settings.clone();
            self.setting(setting, &entry.value, "`defaults`", &mut current, scope);
            scope.settings = current;
        }
    }

    fn input(&mut self, name: &Name, dims: &Expr, span: Span, scope: &mut Scope) {
        if scope.is_block || scope.repeats > 0 {
            let d = Diagnostic::error(codes::MISPLACED, span, "an input stands in a network, outside any `repeat`");
            self.report(d.help("give values to a block as parameters"));
            return;
        }
        let value = self.input_node(name, dims, scope);
        if let Value::Node(id) = value {
            self.places.insert(id, name.span);
            self.inputs.push((name.clone(), id));
            self.names.insert(name.text.clone(), name.span);
        }
        if let Some(before) = scope.bind(name, value, Origin::Input) {
            self.duplicate(name, before.span);
        }
    }

    fn input_node(&mut self, name: &Name, dims: &Expr, scope: &mut Scope) -> Value {
        let given = match self.expr(dims, scope, None) {
            Value::Const(value) => {
                argument::check(Kind::Ints(1, 65_536), &value, dims.span, &format!("the shape of `{}`", name.text))
            }
            other => return other,
        };
        let sizes: Vec<usize> = match given {
            Ok(Arg::Ints(sizes)) => sizes.into_iter().map(|v| v as usize).collect(),
            Ok(_) => vec![],
            Err(d) => return self.report(d),
        };
        if !matches!(sizes.len(), 1 | 3) {
            let message = format!("an input has one or three sizes, not {}", sizes.len());
            let d = Diagnostic::error(codes::SHAPE, dims.span, message);
            return self
                .report(d.help("write `[features]` or `[channels, height, width]`; the batch is never written"));
        }
        if sizes.iter().map(|s| *s as u64).product::<u64>() > MAX_ELEMENTS {
            let d = Diagnostic::error(codes::TOO_LARGE, dims.span, "an image of this size has more than 2^31 elements");
            return self.report(d);
        }
        let op = source::Input { name: name.text.clone(), role: Role::Image, ints: false, batched: true, dims: sizes };
        match self.graph.add(op, &[]) {
            Ok(id) => {
                self.graph.set_name(id, name.text.clone());
                Value::Node(id)
            }
            Err(message) => self.report(Diagnostic::error(codes::SHAPE, dims.span, message)),
        }
    }

    fn output(&mut self, name: &Name, value: &Expr, span: Span, scope: &mut Scope) {
        if scope.is_block || scope.repeats > 0 {
            let d = Diagnostic::error(codes::MISPLACED, span, "an output stands in a network, outside any `repeat`");
            self.report(d.help("a block gives its value with `return`"));
            return;
        }
        if let Some((first, _)) = scope.outputs.iter().find(|(n, _)| n.text == name.text) {
            let first = first.span;
            self.duplicate(name, first);
        }
        match self.expr(value, scope, None) {
            Value::Node(id) => scope.outputs.push((name.clone(), id)),
            Value::Const(c) => {
                let message = format!("an output must be a value of the network, not {}", c.describe());
                self.report(Diagnostic::error(codes::WRONG_KIND, value.span, message));
            }
            Value::Poison => {}
        }
    }

    /// Rounds of a repeat.
    fn count(&mut self, count: &Expr, scope: &mut Scope) -> Option<usize> {
        let value = self.expr(count, scope, None);
        let given = match value {
            Value::Const(value) => {
                argument::check(Kind::Int(0, MAX_LAYERS as i64), &value, count.span, "the count of `repeat`")
            }
            Value::Node(_) => {
                let message = "the count of `repeat` must be a whole number, not a value of the network";
                Err(Diagnostic::error(codes::WRONG_KIND, count.span, message))
            }
            Value::Poison => return None,
        };
        match given {
            Ok(Arg::Int(rounds)) => Some(rounds as usize),
            Ok(_) => None,
            Err(d) => {
                self.report(d);
                None
            }
        }
    }

    /// Evaluates; `alias` is the name that `as` gives to the value and its parameters.
    pub fn expr(&mut self, expr: &Expr, scope: &mut Scope, alias: Option<&Name>) -> Value {
        if !self.spend(expr.span) {
            return Value::Poison;
        }
        match &expr.kind {
            ExprKind::Int(v) => Value::Const(Const::Int(*v)),
            ExprKind::Float(v) => Value::Const(Const::Float(*v)),
            ExprKind::Bool(v) => Value::Const(Const::Bool(*v)),
            ExprKind::Text(v) => Value::Const(Const::Text(v.as_str().into())),
            ExprKind::Name(name) => self.variable(name, expr.span, scope),
            ExprKind::List(items) => self.list(items, expr.span, scope),
            ExprKind::Call(call) => self.call(call, None, scope, alias),
            ExprKind::Neg(inner) => {
                let value = self.expr(inner, scope, None);
                self.negate(value, expr.span)
            }
            ExprKind::Chain(first, rest) => {
                let mut value = self.expr(first, scope, None);
                let mut span = first.span;
                for (i, (op, operand)) in rest.iter().enumerate() {
                    let right = self.expr(operand, scope, None);
                    let both = first.span.to(operand.span);
                    let name = alias.filter(|_| i + 1 == rest.len());
                    value = self.binary(*op, (value, span), (right, operand.span), both, scope, name);
                    span = both;
                }
                value
            }
            ExprKind::Pipe { source, alias: own, steps } => {
                let value = self.expr(source, scope, own.as_ref());
                if let Some(name) = own {
                    self.bind_alias(name, value.clone(), scope);
                }
                self.steps(value, source.span, steps, scope)
            }
        }
    }

    fn variable(&mut self, name: &str, span: Span, scope: &mut Scope) -> Value {
        if let Some(variable) = scope.variables.get_mut(name) {
            variable.used = true;
            return variable.value.clone();
        }
        let mut known: Vec<&str> = scope.variables.keys().map(String::as_str).collect();
        known.sort_unstable();
        let message = format!("nothing here has the name `{}`", super::split::shorten(name));
        let mut d = Diagnostic::error(codes::UNKNOWN_NAME, span, message);
        if self.schemas.contains_key(name) || self.blocks.good.contains_key(name) {
            d = d.help(format!("`{name}` is a function: write `x |> {name}` or `{name}(x)`"));
        } else {
            d = d.maybe_help(suggest::help(name, &known, "known here are"));
        }
        self.report(d)
    }

    fn list(&mut self, items: &[Expr], span: Span, scope: &mut Scope) -> Value {
        if items.len() > MAX_LIST {
            let message = format!("a list has at most {MAX_LIST} items, this one has {}", items.len());
            return self.report(Diagnostic::error(codes::TOO_LARGE, span, message));
        }
        let mut out = Vec::new();
        let mut poison = false;
        for item in items {
            match self.expr(item, scope, None) {
                Value::Const(Const::List(_)) => {
                    let d = Diagnostic::error(codes::WRONG_KIND, item.span, "a list cannot hold a list");
                    self.report(d);
                    poison = true;
                }
                Value::Const(value) => out.push(value),
                Value::Node(_) => {
                    let d = Diagnostic::error(codes::WRONG_KIND, item.span, "a list cannot hold values of the network");
                    self.report(d.help("`concat(x, y)` joins values"));
                    poison = true;
                }
                Value::Poison => poison = true,
            }
        }
        if poison { Value::Poison } else { Value::Const(Const::List(out.into())) }
    }

    fn negate(&mut self, value: Value, span: Span) -> Value {
        match value {
            Value::Const(value) => match constant::negate(&value) {
                Ok(result) => Value::Const(result),
                Err(problem) => self.arithmetic_problem(problem, "-", [(&value, span), (&value, span)], span),
            },
            Value::Node(_) => {
                let d = Diagnostic::error(codes::WRONG_KIND, span, "a value of the network cannot be negated");
                self.report(d)
            }
            Value::Poison => Value::Poison,
        }
    }

    fn arithmetic_problem(&mut self, problem: Problem, sign: &str, sides: [(&Const, Span); 2], whole: Span) -> Value {
        match problem {
            Problem::NoResult(message) => self.report(Diagnostic::error(codes::ARITHMETIC, whole, message)),
            Problem::NotANumber(side) => {
                let (value, span) = sides[side];
                let message = format!("`{sign}` needs numbers, not {}", value.describe());
                self.report(Diagnostic::error(codes::WRONG_KIND, span, message))
            }
        }
    }

    fn binary(
        &mut self,
        op: BinOp,
        left: (Value, Span),
        right: (Value, Span),
        whole: Span,
        scope: &mut Scope,
        alias: Option<&Name>,
    ) -> Value {
        let sign = match op {
            BinOp::Add => "+",
            BinOp::Sub => "-",
            BinOp::Mul => "*",
            BinOp::Div => "/",
            BinOp::Rem => "%",
        };
        match (left.0, right.0) {
            (Value::Poison, _) | (_, Value::Poison) => Value::Poison,
            (Value::Const(a), Value::Const(b)) => match constant::arithmetic(op, &a, &b) {
                Ok(value) => Value::Const(value),
                Err(problem) => self.arithmetic_problem(problem, sign, [(&a, left.1), (&b, right.1)], whole),
            },
            (Value::Node(a), Value::Node(b)) => {
                let function = match op {
                    BinOp::Add => "add",
                    BinOp::Mul => "mul",
                    _ => {
                        let message = format!("`{sign}` needs numbers, not values of the network");
                        let d = Diagnostic::error(codes::WRONG_KIND, whole, message);
                        return self
                            .report(d.help("values of the network can be added and multiplied, `x + y` and `x * y`"));
                    }
                };
                self.operator(function, [a, b], whole, scope, alias)
            }
            (Value::Const(c), Value::Node(_)) | (Value::Node(_), Value::Const(c)) => {
                let message = format!("`{sign}` cannot combine a value of the network and {}", c.describe());
                self.report(Diagnostic::error(codes::WRONG_KIND, whole, message))
            }
        }
    }

    fn steps(&mut self, mut value: Value, source: Span, steps: &[Step], scope: &mut Scope) -> Value {
        let mut span = source;
        for step in steps {
            if !self.spend(step.span) {
                return Value::Poison;
            }
            value = match &step.kind {
                StepKind::Call(call) => self.call(call, Some((value, span)), scope, step.alias.as_ref()),
                StepKind::Repeat { count, steps } => {
                    let Some(rounds) = self.count(count, scope) else { return Value::Poison };
                    let prefix = scope.prefix.clone();
                    if let Some(alias) = &step.alias {
                        scope.prefix = format!("{}.", self.layer_name(&alias.text, Some(alias), scope));
                    }
                    scope.repeats += 1;
                    for _ in 0..rounds {
                        value = self.steps(value, span, steps, scope);
                        if self.stopped {
                            break;
                        }
                    }
                    scope.repeats -= 1;
                    scope.prefix = prefix;
                    value
                }
            };
            if let Some(name) = &step.alias {
                self.bind_alias(name, value.clone(), scope);
            }
            span = step.span;
        }
        value
    }

    fn bind_alias(&mut self, name: &Name, value: Value, scope: &mut Scope) {
        if let Some(before) = scope.variables.get(&name.text) {
            let again = before.origin == Origin::Alias && scope.repeats > 0;
            if !again && before.span != name.span {
                let first = before.span;
                self.duplicate(name, first);
            }
        }
        scope.bind(name, value, Origin::Alias);
    }

    /// The call of a layer or a block; `piped` is what flows in.
    pub fn call(
        &mut self,
        call: &Call,
        piped: Option<(Value, Span)>,
        scope: &mut Scope,
        alias: Option<&Name>,
    ) -> Value {
        let name = call.function.text.as_str();
        if let Some(schema) = self.schemas.get(name) {
            return self.layer(schema, call, piped, scope, alias);
        }
        if let Some(block) = self.blocks.good.get(name) {
            return self.block(block, call, piped, scope, alias);
        }
        // Mistakes in the arguments are worth saying even if the function is unknown.
        for argument in &call.arguments {
            if argument.name.is_none() {
                self.expr(&argument.value, scope, None);
            }
        }
        if self.blocks.broken.contains(name) {
            return Value::Poison;
        }
        let mut known: Vec<&str> = self.schemas.keys().copied().chain(self.blocks.good.keys().copied()).collect();
        known.sort_unstable();
        let message = format!("there is no function `{}`", super::split::shorten(name));
        let d = Diagnostic::error(codes::UNKNOWN_FUNCTION, call.function.span, message);
        let help = match (suggest::nearest(name, known.iter().copied()), scope.variables.contains_key(name)) {
            (None, true) => Some(format!("`{name}` is a value; a pipeline continues with a function")),
            (near, _) => near.map(|n| format!("did you mean `{n}`?")),
        };
        self.report(d.maybe_help(help))
    }
}

/// The name that `as` gives to an expression's value: that of its last step.
fn alias_of(expr: &Expr) -> Option<String> {
    let ExprKind::Pipe { alias, steps, .. } = &expr.kind else { return None };
    let name = steps.last().map_or(alias.as_ref(), |s| s.alias.as_ref());
    name.map(|n| n.text.clone())
}
