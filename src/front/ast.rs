//! A model file as written, every part with its place. Chains of operators and of pipeline steps are flat lists, so that no
//! later walk needs a stack as deep as the file is long.

use super::diag::Span;

#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    pub text: String,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Network(Network),
    Block(Block),
    Section(Section),
}

/// `network name(parameter = default, …) { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Stmt>,
    pub span: Span,
}

/// `block name(parameter, …) { … return … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    pub name: Name,
    pub parameters: Vec<Parameter>,
    pub body: Vec<Stmt>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: Name,
    pub default: Option<Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    Data,
    Train,
}

/// `data { key = value … }` or `train { … }`
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    pub kind: SectionKind,
    pub entries: Vec<Entry>,
    /// The word `data` or `train`.
    pub word: Span,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Name,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    pub kind: StmtKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    Defaults(Vec<Entry>),
    Input { name: Name, dims: Expr },
    Let { name: Name, value: Expr },
    Output { name: Name, value: Expr },
    Return(Expr),
    Repeat { count: Expr, body: Vec<Stmt> },
    Expr(Expr),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Name(String),
    List(Vec<Expr>),
    Call(Call),
    Neg(Box<Expr>),
    /// Operators of one precedence, from left to right.
    Chain(Box<Expr>, Vec<(BinOp, Expr)>),
    /// `source [as alias] |> step |> step`
    Pipe {
        source: Box<Expr>,
        alias: Option<Name>,
        steps: Vec<Step>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: Name,
    pub arguments: Vec<Argument>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    pub name: Option<Name>,
    pub value: Expr,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub kind: StepKind,
    pub alias: Option<Name>,
    pub span: Span,
    /// Where its `|>` stands; of the first step of a `repeat { … }` without one, the step's own start.
    pub pipe: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    Call(Call),
    Repeat { count: Box<Expr>, steps: Vec<Step> },
}
