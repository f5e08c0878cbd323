//! A model file as written, every part with its place. Chains of operators and of pipeline steps are flat lists, so
//! that no later walk needs a stack as deep as the file is long.

use super::diag::Span;

/// A name as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The letters.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `network … { … }`
    Network(Network),
    /// `block … { … }`
    Block(Block),
    /// `data { … }` or `train { … }`
    Section(Section),
}

/// `network name(parameter = default, …) { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: Name,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// Its statements in order.
    pub body: Vec<Stmt>,
    /// The whole item.
    pub span: Span,
}

/// `block name(parameter, …) { … return … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its name.
    pub name: Name,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// Its statements in order.
    pub body: Vec<Stmt>,
    /// The whole item.
    pub span: Span,
}

/// A parameter of a network or block.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: Name,
    /// What holds where no value is given.
    pub default: Option<Expr>,
}

/// Kinds of sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// Where examples come from.
    Data,
    /// How the network is trained.
    Train,
}

/// `data { key = value … }` or `train { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Which section it is.
    pub kind: SectionKind,
    /// Its keys in order.
    pub entries: Vec<Entry>,
    /// The word `data` or `train`.
    pub word: Span,
    /// The whole item.
    pub span: Span,
}

/// `key = value`
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Name,
    /// Its value.
    pub value: Expr,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it says.
    pub kind: StmtKind,
    /// The whole statement.
    pub span: Span,
}

/// Kinds of statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `defaults { key = value … }`
    Defaults(Vec<Entry>),
    /// `input name: dims`
    Input {
        /// The input's name.
        name: Name,
        /// Its shape per image.
        dims: Expr,
    },
    /// `let name = value`
    Let {
        /// The name that is given.
        name: Name,
        /// What it stands for.
        value: Expr,
    },
    /// `output name = value`
    Output {
        /// The output's name.
        name: Name,
        /// Its value.
        value: Expr,
    },
    /// `return value`
    Return(Expr),
    /// `repeat count { … }`
    Repeat {
        /// How often.
        count: Expr,
        /// The statements that are repeated.
        body: Vec<Stmt>,
    },
    /// An expression on its own.
    Expr(Expr),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it computes.
    pub kind: ExprKind,
    /// The whole expression.
    pub span: Span,
}

/// Kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A string, its escapes resolved.
    Text(String),
    /// A name.
    Name(String),
    /// `[a, b, …]`
    List(Vec<Expr>),
    /// The call of a layer, a block or a function.
    Call(Call),
    /// `-value`
    Neg(Box<Expr>),
    /// Operators of one precedence, from left to right.
    Chain(Box<Expr>, Vec<(BinOp, Expr)>),
    /// `source [as alias] |> step |> step`
    Pipe {
        /// What flows into the first step.
        source: Box<Expr>,
        /// Its name.
        alias: Option<Name>,
        /// The steps in order.
        steps: Vec<Step>,
    },
}

/// Operators between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
}

impl BinOp {
    /// Returns it as the language writes it.
    pub fn sign(self) -> &'static str {
        match self {
            BinOp::Add => "+",
            BinOp::Sub => "-",
            BinOp::Mul => "*",
            BinOp::Div => "/",
            BinOp::Rem => "%",
        }
    }
}

/// `function(argument, name = argument, …)`
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What is called.
    pub function: Name,
    /// The arguments in order.
    pub arguments: Vec<Argument>,
    /// The whole call.
    pub span: Span,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// The parameter that it names, if it does.
    pub name: Option<Name>,
    /// What is given.
    pub value: Expr,
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The name after `as`.
    pub alias: Option<Name>,
    /// The step, without its `|>`.
    pub span: Span,
    /// Where its `|>` stands; of the first step of a `repeat { … }` without one, the step's own start.
    pub pipe: Span,
}

/// Kinds of steps.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// A call whose first operand is the value flowing in.
    Call(Call),
    /// `repeat count { step |> step }`
    Repeat {
        /// How often.
        count: Box<Expr>,
        /// The steps that are repeated.
        steps: Vec<Step>,
    },
}
