//! Kernel IR as text: `Module` prints, and [`parse`] reads exactly the same module back.
//!
//! ```text
//! micro_kernel axpy(x: f32 read, y: f32 readwrite, n: int) {
//!   %0: f32x4 = const 0.5
//!   for i = 0 to n carry %1: f32x4 = %0 {
//!     %2: f32x4 = load x[4*i]
//!     %3: f32x4 = fma %2, %1, %1
//!     store y[3 + 4*i], %3 first 2
//!     next %3
//!   } giving %4: f32x4
//! }
//! kernel scale(x: f32 read, y: f32 readwrite) {
//!   scratch cache t: f32[64]
//!   parallel image = 0 to batch {
//!     call axpy(x[16*image], y[16*image], min(batch, 4))
//!   }
//! }
//! ```
//! `micro_kernel f(…) together format, rows, columns, depth, pitch of a, pitch of b {` is one that 32 items
//! may run together. A name that occurs twice in a list gets its number behind a dot (`i.3`); one that is not an
//! identifier stands in quotes.

use super::ir::*;
use std::fmt;

mod parse;

pub use parse::parse;

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// `f32` is a scalar, `f32x8` a vector.
impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.elem.fmt(f)?;
        if self.lanes == 1 { Ok(()) } else { write!(f, "x{}", self.lanes) }
    }
}

/// A name as an identifier or in quotes.
fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let plain = first && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.into() } else { format!("{name:?}") }
}

/// The names of a list, made distinct.
fn distinct<'a, C: FromIterator<String>>(names: impl Iterator<Item = &'a str>) -> C {
    let names: Vec<&str> = names.collect();
    let name = |(i, n): (usize, &&str)| {
        let twice = names.iter().filter(|o| *o == n).count() > 1;
        if twice { format!("{}.{i}", quoted(n)) } else { quoted(n) }
    };
    names.iter().enumerate().map(name).collect()
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for micro_kernel in self.micro_kernels.values() {
            micro_kernel.fmt(f)?;
        }
        for kernel in self.kernels.values() {
            let vars = distinct(kernel.vars.values().map(String::as_str));
            let memory = kernel.buffers.values().map(|b| &b.name).chain(kernel.scratch.values().map(|s| &s.name));
            let memory = distinct(memory.map(String::as_str));
            KernelText { module: self, kernel, vars, memory }.write(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for MicroKernel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let vars = distinct(self.vars.values().map(String::as_str));
        let params = distinct(self.params.values().map(|p| match p {
            MicroKernelParam::Pointer { name, .. } | MicroKernelParam::Int { name, .. } => name.as_str(),
        }));
        let text = MicroKernelText { micro_kernel: self, vars, params };
        text.write(f)
    }
}

struct MicroKernelText<'a> {
    micro_kernel: &'a MicroKernel,
    vars: PrimaryMap<Var, String>,
    params: PrimaryMap<Param, String>,
}

impl MicroKernelText<'_> {
    fn write(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "micro_kernel {}(", quoted(&self.micro_kernel.name))?;
        for (id, param) in &self.micro_kernel.params {
            let comma = if id.index() > 0 { ", " } else { "" };
            match param {
                MicroKernelParam::Pointer { elem, access, .. } => {
                    write!(f, "{comma}{}: {elem} {}", self.params[id], access.word())?;
                }
                MicroKernelParam::Int { var, .. } => write!(f, "{comma}{}: int", self.vars[*var])?,
            }
        }
        write!(f, ")")?;
        if let Some(WarpProduct { format, rows, columns, depth, pitches: [a, b] }) = self.micro_kernel.warp_cooperative
        {
            write!(f, " warp_cooperative {}, {rows}, {columns}, {depth}, {a}, {b}", format.name())?;
        }
        writeln!(f, " {{")?;
        self.block(f, &self.micro_kernel.body, 1)?;
        writeln!(f, "}}")
    }

    fn typed(&self, value: Val) -> String {
        format!("{value}: {}", self.micro_kernel.values[value])
    }

    fn block(&self, f: &mut fmt::Formatter, body: &[Inst], depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        for inst in body {
            match inst {
                Inst::Let { result, op } => writeln!(f, "{indent}{} = {}", self.typed(*result), self.op(op))?,
                Inst::Store { to, value, count } => {
                    writeln!(f, "{indent}store {}, {}{}", self.address(to), value, first(*count))?;
                }
                Inst::StoreTile { to, value, pitch } => {
                    writeln!(f, "{indent}store_tile {}, {value} pitch {pitch}", self.address(to))?;
                }
                Inst::Prefetch { from } => writeln!(f, "{indent}prefetch {}", self.address(from))?,
                Inst::Loop { var, count, init, params, body, next, results } => {
                    write!(f, "{indent}for {} = 0 to {}", self.vars[*var], self.index(count))?;
                    let carried: Vec<String> =
                        params.iter().zip(init).map(|(p, i)| format!("{} = {i}", self.typed(*p))).collect();
                    if !carried.is_empty() {
                        write!(f, " carry {}", carried.join(", "))?;
                    }
                    writeln!(f, " {{")?;
                    self.block(f, body, depth + 1)?;
                    if next.is_empty() {
                        writeln!(f, "{indent}}}")?;
                        continue;
                    }
                    let next: Vec<String> = next.iter().map(|v| v.to_string()).collect();
                    let results: Vec<String> = results.iter().map(|v| self.typed(*v)).collect();
                    writeln!(f, "{indent}  next {}", next.join(", "))?;
                    writeln!(f, "{indent}}} giving {}", results.join(", "))?;
                }
            }
        }
        Ok(())
    }

    fn index(&self, index: &Index) -> String {
        let mut text = String::new();
        if index.offset != 0 || index.terms.is_empty() {
            text = index.offset.to_string();
        }
        for &(var, c) in &index.terms {
            let sign = match (text.is_empty(), c < 0) {
                (true, true) => "-",
                (true, false) => "",
                (false, true) => " - ",
                (false, false) => " + ",
            };
            text.push_str(sign);
            if c.unsigned_abs() != 1 {
                text.push_str(&format!("{}*", c.unsigned_abs()));
            }
            text.push_str(&self.vars[var]);
        }
        text
    }

    fn address(&self, address: &Address) -> String {
        format!("{}[{}]", self.params[address.base], self.index(&address.index))
    }

    fn op(&self, op: &Op) -> String {
        let word = op.word();
        match op {
            Op::ConstF32 { bits, .. } => match f32::from_bits(*bits) {
                value if value.is_finite() => format!("{word} {value:?}"),
                _ => format!("{word} {bits:#010x}"),
            },
            Op::ConstI32 { value, .. } => format!("{word} {value}"),
            Op::IndexI32 { index, .. } => format!("{word} {}", self.index(index)),
            Op::LoadTile { from, pitch, .. } => format!("{word} {} pitch {pitch}", self.address(from)),
            Op::Load { from, count, .. } => format!("{word} {}{}", self.address(from), first(*count)),
            _ => match op.address() {
                Some(from) => format!("{word} {}", self.address(from)),
                None => {
                    let operands: Vec<String> = op.operands().map(|v| v.to_string()).collect();
                    format!("{word} {}", operands.join(", ")).trim_end().into()
                }
            },
        }
    }
}

/// The part of a partial load or store.
fn first(count: Option<u32>) -> String {
    count.map_or(String::new(), |c| format!(" first {c}"))
}

struct KernelText<'a> {
    module: &'a Module,
    kernel: &'a Kernel,
    vars: PrimaryMap<KVar, String>,
    /// Buffers, then scratch arrays.
    memory: Vec<String>,
}

impl KernelText<'_> {
    fn write(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "kernel {}(", quoted(&self.kernel.name))?;
        for (i, b) in self.kernel.buffers.values().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}: {} {}", self.memory[i], b.elem, b.access.word())?;
        }
        writeln!(f, ") {{")?;
        for (s, name) in self.kernel.scratch.values().zip(&self.memory[self.kernel.buffers.len()..]) {
            writeln!(f, "  scratch {} {name}: {}[{}]", s.space.word(), s.elem, s.len)?;
        }
        self.block(f, &self.kernel.body, 1)?;
        writeln!(f, "}}")
    }

    fn block(&self, f: &mut fmt::Formatter, body: &[Stmt], depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        for stmt in body {
            match stmt {
                Stmt::For { var, kind, begin, end, body } => {
                    let kind = kind.word();
                    let (begin, end) = (self.expr(begin, 0), self.expr(end, 0));
                    writeln!(f, "{indent}{kind} {} = {begin} to {end} {{", self.vars[*var])?;
                    self.block(f, body, depth + 1)?;
                    writeln!(f, "{indent}}}")?;
                }
                Stmt::If { condition, then, otherwise } => {
                    writeln!(f, "{indent}if {} {{", self.expr(condition, 0))?;
                    self.block(f, then, depth + 1)?;
                    if !otherwise.is_empty() {
                        writeln!(f, "{indent}}} else {{")?;
                        self.block(f, otherwise, depth + 1)?;
                    }
                    writeln!(f, "{indent}}}")?;
                }
                Stmt::Call { micro_kernel, args } => {
                    let name = self.module.micro_kernels.get(*micro_kernel).map_or("?", |l| &l.name);
                    let args: Vec<String> = args.iter().map(|a| self.arg(a)).collect();
                    writeln!(f, "{indent}call {}({})", quoted(name), args.join(", "))?;
                }
                Stmt::Barrier => writeln!(f, "{indent}barrier")?,
            }
        }
        Ok(())
    }

    fn arg(&self, arg: &Arg) -> String {
        match arg {
            Arg::Int(e) => self.expr(e, 0),
            Arg::Pointer { memory, offset } => {
                format!("{}[{}]", self.memory[self.kernel.memory_number(*memory)], self.expr(offset, 0))
            }
        }
    }

    /// `level`: 0 takes comparisons, 1 sums, 2 products, 3 only what needs no parentheses anywhere.
    fn expr(&self, expr: &Expr, level: u8) -> String {
        let (op, l, r) = match expr {
            Expr::Const(value) => return value.to_string(),
            Expr::Var(v) => return self.vars[*v].clone(),
            Expr::Binary(op, l, r) => (*op, l, r),
        };
        let (symbol, own) = match op {
            ExprOp::Min => return format!("min({}, {})", self.expr(l, 0), self.expr(r, 0)),
            ExprOp::Max => return format!("max({}, {})", self.expr(l, 0), self.expr(r, 0)),
            ExprOp::Lt => (" < ", 0),
            ExprOp::Eq => (" == ", 0),
            ExprOp::Add => (" + ", 1),
            ExprOp::Sub => (" - ", 1),
            ExprOp::Mul => ("*", 2),
            ExprOp::Div => ("/", 2),
            ExprOp::Rem => ("%", 2),
        };
        let left = self.expr(l, if own == 0 { 1 } else { own });
        let text = format!("{left}{symbol}{}", self.expr(r, own + 1));
        if own < level { format!("({text})") } else { text }
    }
}
