//! The driver language's syntax tree.

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// 64 bits: an integer or an address.
    Int,
    /// A float of 32 bits.
    F32,
    /// A float of 64 bits.
    F64,
    /// Four floats of 32 bits.
    F32x4,
}

/// An element of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A byte without a sign.
    U8,
    /// 32 bits with a sign.
    I32,
    /// 32 bits without a sign.
    U32,
    /// 64 bits.
    I64,
    /// A float of 32 bits.
    F32,
    /// A float of 64 bits.
    F64,
    /// Four floats of 32 bits.
    F32x4,
}

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`; with signs, rounds towards zero.
    Div,
    /// `%`; with signs.
    Rem,
    /// `&`
    And,
    /// `|`
    Or,
    /// `^`
    Xor,
    /// `<<`
    Shl,
    /// `>>`; fills with zeros.
    Shr,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`; evaluates the right side only if the left one is not 0.
    Both,
    /// `||`; evaluates the right side only if the left one is 0.
    Either,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A 64-bit integer.
    Int(i64),
    /// A number of type `f64`.
    Float(f64),
    /// The address of a text that a 0 ends.
    Text(String),
    /// `@name`: the address of data.
    Data(String),
    /// `&name`: the address of a function.
    Function(String),
    /// A variable or a constant.
    Name(String),
    /// `cell[address]`
    Load(Cell, Box<Expr>),
    /// An operator and its operands.
    Binary(Op, Box<Expr>, Box<Expr>),
    /// A call of a function by its name.
    Call(String, Vec<Expr>),
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// Defines a variable.
    Let(String, Expr),
    /// Gives a variable a new value.
    Set(String, Expr),
    /// `cell[address] = value`
    Store(Cell, Expr, Expr),
    /// Condition, what runs if it is not 0, what runs otherwise.
    If(Expr, Vec<Line>, Vec<Line>),
    /// Condition and body.
    While(Expr, Vec<Line>),
    /// Ends the function with this result.
    Return(Expr),
    /// Leaves the innermost loop.
    Break,
    /// Evaluates an expression, without use of its value.
    Do(Expr),
}

/// A statement and its line, for errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Line of the text, from 1.
    pub line: usize,
    /// The statement.
    pub stmt: Stmt,
}

/// A function of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name in the text.
    pub name: String,
    /// Names and types of its parameters.
    pub params: Vec<(String, Ty)>,
    /// Whether the linker sees it, under the library's prefix.
    pub export: bool,
    /// Its statements.
    pub body: Vec<Line>,
}

/// A function of the C library.
#[derive(Clone, Debug, PartialEq)]
pub struct Extern {
    /// Its symbol.
    pub name: String,
    /// Number of parameters, all integers.
    pub params: usize,
    /// Whether it returns C's `int`: 32 bits, with a sign.
    pub int: bool,
}

/// A whole text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// Constants and their values.
    pub constants: Vec<(String, i64)>,
    /// Functions of the C library that it calls.
    pub externs: Vec<Extern>,
    /// Functions, in the order of the text.
    pub functions: Vec<Function>,
}
