//! The driver language's syntax tree.

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Int,
    F32,
    F64,
    F32x4,
}

/// An element of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    U8,
    I32,
    U32,
    I64,
    F32,
    F64,
    F32x4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Shl,
    /// Fills with zeros.
    Shr,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Short circuit.
    Both,
    Either,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Int(i64),
    Float(f64),
    Text(String),
    Data(String),
    Function(String),
    /// A variable or a constant.
    Name(String),
    Load(Cell, Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    Call(String, Vec<Expr>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    Let(String, Expr),
    Set(String, Expr),
    Store(Cell, Expr, Expr),
    If(Expr, Vec<Line>, Vec<Line>),
    While(Expr, Vec<Line>),
    Return(Expr),
    Break,
    Do(Expr),
}

/// A statement and its line, for errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub line: usize,
    pub stmt: Stmt,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    pub name: String,
    pub params: Vec<(String, Ty)>,
    /// Seen by the linker, under the library's prefix.
    pub export: bool,
    pub body: Vec<Line>,
}

/// A function of the C library.
#[derive(Clone, Debug, PartialEq)]
pub struct Extern {
    pub name: String,
    pub params: usize,
    /// Gives C's `int`: 32 bits, with a sign.
    pub int: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    pub constants: Vec<(String, i64)>,
    pub externs: Vec<Extern>,
    pub functions: Vec<Function>,
}
