//! Reads kernels.

use super::lex::Token;
use super::{Key, Parser, find};
use crate::kernel::ir::*;

/// What the text has defined so far.
struct Names<'a> {
    micro_kernels: &'a PrimaryMap<MicroKernelId, MicroKernel>,
    memory: Vec<Key>,
    buffers: usize,
    vars: Vec<Key>,
}

impl Parser {
    pub(super) fn kernel(&mut self, micro_kernels: &PrimaryMap<MicroKernelId, MicroKernel>) -> Result<Kernel, String> {
        let name = self.name()?;
        let (mut buffers, mut scratch, mut memory) = (PrimaryMap::new(), PrimaryMap::new(), Vec::new());
        self.need('(')?;
        self.list(|p| {
            let key = p.key()?;
            p.need(':')?;
            buffers.push(BufferParam { name: key.0.clone(), elem: p.elem()?, access: p.access()? });
            memory.push(key);
            Ok(())
        })?;
        self.need('{')?;
        while self.accept("scratch") {
            let space = self.one_of(Space::named).ok_or_else(|| self.expected("a memory space"))?;
            let key = self.key()?;
            self.need(':')?;
            let elem = self.elem()?;
            self.need('[')?;
            scratch.push(Scratch { name: key.0.clone(), elem, len: self.number()?, space });
            self.need(']')?;
            memory.push(key);
        }
        let vars = KVar::NAMES.map(|v| (v.to_string(), None)).to_vec();
        let mut build = Names { micro_kernels, memory, buffers: buffers.len(), vars };
        let body = self.stmts(&mut build)?;
        Ok(Kernel { name, buffers, scratch, vars: build.vars.into_iter().map(|k| k.0).collect(), body })
    }

    /// Statements up to `}`; the opening brace is read already.
    fn stmts(&mut self, build: &mut Names) -> Result<Vec<Stmt>, String> {
        self.deeper()?;
        let mut body = Vec::new();
        while !self.sign('}') {
            if self.accept("barrier") {
                body.push(Stmt::Barrier);
            } else if self.accept("call") {
                body.push(self.call(build)?);
            } else if self.accept("if") {
                let condition = self.expr(build, 0)?;
                self.need('{')?;
                let then = self.stmts(build)?;
                let otherwise = if self.accept("else") {
                    self.need('{')?;
                    self.stmts(build)?
                } else {
                    Vec::new()
                };
                body.push(Stmt::If { condition, then, otherwise });
            } else {
                body.push(self.range(build)?);
            }
        }
        self.depth -= 1;
        Ok(body)
    }

    fn range(&mut self, build: &mut Names) -> Result<Stmt, String> {
        let kind = self.one_of(LoopKind::named).ok_or_else(|| self.expected("a statement"))?;
        let key = self.key()?;
        self.need('=')?;
        let begin = self.expr(build, 0)?;
        self.need_word("to")?;
        let end = self.expr(build, 0)?;
        self.need('{')?;
        let var = KVar::new(build.vars.len());
        build.vars.push(key);
        let body = self.stmts(build)?;
        Ok(Stmt::For { var, kind, begin, end, body })
    }

    fn call(&mut self, build: &Names) -> Result<Stmt, String> {
        let name = self.name()?;
        let mut named = build.micro_kernels.iter().filter(|(_, m)| m.name == name);
        let micro_kernel = named.next().ok_or_else(|| format!("no micro-kernel {name}"))?.0;
        self.need('(')?;
        let mut args = Vec::new();
        self.list(|p| {
            let pointer = matches!(p.peek(), Token::Name(..)) && p.tokens[p.at + 1].0 == Token::Sign('[');
            if !pointer {
                args.push(Arg::Int(p.expr(build, 0)?));
                return Ok(());
            }
            let key = p.key()?;
            let at = find(&build.memory, &key).ok_or_else(|| format!("no memory {}", key.0))?;
            p.need('[')?;
            let offset = p.expr(build, 0)?;
            p.need(']')?;
            let memory = match at.checked_sub(build.buffers) {
                Some(scratch) => Memory::Scratch(KScratch::new(scratch)),
                None => Memory::Buffer(KBuffer::new(at)),
            };
            args.push(Arg::Pointer { memory, offset });
            Ok(())
        })?;
        Ok(Stmt::Call { micro_kernel, args })
    }

    /// `level` as in printing.
    fn expr(&mut self, build: &Names, level: u8) -> Result<Expr, String> {
        if level == 3 {
            return self.atom(build);
        }
        let mut left = self.expr(build, level + 1)?;
        loop {
            let op = match (level, self.peek()) {
                (0, Token::Sign('<')) => ExprOp::Lt,
                (0, Token::Sign('=')) if self.tokens[self.at + 1].0 == Token::Sign('=') => {
                    self.advance();
                    ExprOp::Eq
                }
                (1, Token::Sign('+')) => ExprOp::Add,
                (1, Token::Sign('-')) => ExprOp::Sub,
                (2, Token::Sign('*')) => ExprOp::Mul,
                (2, Token::Sign('/')) => ExprOp::Div,
                (2, Token::Sign('%')) => ExprOp::Rem,
                _ => return Ok(left),
            };
            self.advance();
            let right = self.expr(build, level + 1)?;
            left = Expr::Binary(op, Box::new(left), Box::new(right));
        }
    }

    fn atom(&mut self, build: &Names) -> Result<Expr, String> {
        if matches!(self.peek(), Token::Number(_) | Token::Sign('-')) {
            return Ok(Expr::Const(self.number()?));
        }
        self.deeper()?;
        let expr = if self.sign('(') {
            let inner = self.expr(build, 0)?;
            self.need(')')?;
            inner
        } else {
            let key = self.key()?;
            match (key.0.as_str(), self.sign('(')) {
                (function @ ("min" | "max"), true) => {
                    let op = if function == "min" { ExprOp::Min } else { ExprOp::Max };
                    let left = self.expr(build, 0)?;
                    self.need(',')?;
                    let right = self.expr(build, 0)?;
                    self.need(')')?;
                    Expr::Binary(op, Box::new(left), Box::new(right))
                }
                (_, true) => return Err(format!("no function {}", key.0)),
                (_, false) => {
                    let var = find(&build.vars, &key).ok_or_else(|| format!("no variable {}", key.0))?;
                    Expr::Var(KVar::new(var))
                }
            }
        };
        self.depth -= 1;
        Ok(expr)
    }
}
