//! Reads the text of kernel IR.

use super::{ACCESSES, BINARY, COMPARE, ELEMS, SPACES, UNARY};
use crate::kernel::ir::*;
use crate::types::Format;

/// Expressions and blocks may be nested this deep.
const DEPTH: usize = 100;

/// The module, or the first error with its line.
pub fn parse(text: &str) -> Result<Module, String> {
    let mut parser = Parser { tokens: lex(text)?, at: 0, depth: 0 };
    let mut module = Module::default();
    while parser.peek() != &Token::End {
        let done = if parser.accept("micro_kernel") {
            parser.micro_kernel().map(|micro_kernel| _ = module.micro_kernels.push(micro_kernel))
        } else if parser.accept("kernel") {
            parser.kernel(&module.micro_kernels).map(|kernel| _ = module.kernels.push(kernel))
        } else {
            Err(parser.expected("micro_kernel or kernel"))
        };
        done.map_err(|e| format!("line {}: {e}", parser.line()))?;
    }
    Ok(module)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A name in quotes or not, with its number in the list.
    Name(String, Option<usize>),
    Number(String),
    Sign(char),
    End,
}

fn lex(text: &str) -> Result<Vec<(Token, usize)>, String> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut i, mut line) = (Vec::new(), 0, 1);
    let run = |from: usize, ok: &dyn Fn(char) -> bool| from + chars[from..].iter().take_while(|c| ok(**c)).count();
    while let Some(&c) = chars.get(i) {
        let start = i;
        match c {
            '\n' => (i, line) = (i + 1, line + 1),
            _ if c.is_whitespace() => i += 1,
            '0'..='9' => {
                i = run(i, &|c| c.is_ascii_alphanumeric());
                if chars.get(i) == Some(&'.') && chars.get(i + 1).is_some_and(char::is_ascii_digit) {
                    i = run(i + 1, &|c| c.is_ascii_alphanumeric());
                }
                let hex = chars.get(start + 1) == Some(&'x');
                if !hex && chars[i - 1] == 'e' && matches!(chars.get(i), Some('+' | '-')) {
                    i = run(i + 1, &|c| c.is_ascii_digit());
                }
                tokens.push((Token::Number(chars[start..i].iter().collect()), line));
            }
            '"' => {
                let mut name = String::new();
                i = string(&chars, i + 1, &mut name).ok_or_else(|| format!("line {line}: a name without end"))?;
                let number = number_behind(&chars, &mut i);
                tokens.push((Token::Name(name, number), line));
            }
            _ if c.is_ascii_alphabetic() || c == '_' => {
                i = run(i, &|c| c.is_ascii_alphanumeric() || c == '_');
                let name = chars[start..i].iter().collect();
                let number = number_behind(&chars, &mut i);
                tokens.push((Token::Name(name, number), line));
            }
            _ => {
                tokens.push((Token::Sign(c), line));
                i += 1;
            }
        }
    }
    tokens.push((Token::End, line));
    Ok(tokens)
}

/// The rest of a quoted name, as `{:?}` writes it; gives the place behind it.
fn string(chars: &[char], mut i: usize, name: &mut String) -> Option<usize> {
    loop {
        match chars.get(i)? {
            '"' => return Some(i + 1),
            '\\' => {
                let escaped = *chars.get(i + 1)?;
                i += 2;
                match escaped {
                    'n' => name.push('\n'),
                    't' => name.push('\t'),
                    'r' => name.push('\r'),
                    '0' => name.push('\0'),
                    'u' => {
                        let end = i + chars[i..].iter().position(|c| *c == '}')?;
                        let digits: String = chars.get(i + 1..end)?.iter().collect();
                        name.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                        i = end + 1;
                    }
                    other => name.push(other),
                }
            }
            other => {
                name.push(*other);
                i += 1;
            }
        }
    }
}

fn number_behind(chars: &[char], i: &mut usize) -> Option<usize> {
    if chars.get(*i) != Some(&'.') {
        return None;
    }
    let digits: String = chars[*i + 1..].iter().take_while(|c| c.is_ascii_digit()).collect();
    let number = digits.parse().ok()?;
    *i += 1 + digits.len();
    Some(number)
}

/// A name as it stands in the text: with its number where that is needed.
type Key = (String, Option<usize>);

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn line(&self) -> usize {
        self.tokens[self.at].1
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what}, found {:?}", self.peek())
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(name, None) if name == word);
        if found {
            self.advance();
        }
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        if found {
            self.advance();
        }
        found
    }

    fn need(&mut self, sign: char) -> Result<(), String> {
        if self.sign(sign) { Ok(()) } else { Err(self.expected(&format!("{sign:?}"))) }
    }

    fn need_word(&mut self, word: &str) -> Result<(), String> {
        if self.accept(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    fn key(&mut self) -> Result<Key, String> {
        match self.peek().clone() {
            Token::Name(name, number) => {
                self.advance();
                Ok((name, number))
            }
            _ => Err(self.expected("a name")),
        }
    }

    fn name(&mut self) -> Result<String, String> {
        Ok(self.key()?.0)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        let mut text = if self.sign('-') { "-".to_string() } else { String::new() };
        match self.peek() {
            Token::Number(digits) => text.push_str(digits),
            _ => return Err(self.expected("a number")),
        }
        let value = text.parse().map_err(|_| format!("{text} is no number of this kind"))?;
        self.advance();
        Ok(value)
    }

    /// One of a table's words.
    fn one_of<T: Copy>(&mut self, table: &[(T, &str)]) -> Option<T> {
        table.iter().find(|(_, word)| self.accept(word)).map(|(item, _)| *item)
    }

    fn access(&mut self) -> Result<Access, String> {
        self.one_of(&ACCESSES).ok_or_else(|| self.expected("read, write or readwrite"))
    }

    fn elem(&mut self) -> Result<Elem, String> {
        let ty = self.ty()?;
        if ty.lanes == 1 { Ok(ty.elem) } else { Err("an element type, not a vector's".into()) }
    }

    fn ty(&mut self) -> Result<Ty, String> {
        let name = self.name()?;
        let (elem, lanes) = match name.split_once('x') {
            Some((elem, lanes)) => (elem, lanes.parse().map_err(|_| format!("{name} is no type"))?),
            None => (name.as_str(), 1),
        };
        let elem = ELEMS.into_iter().find(|e| e.to_string() == elem);
        elem.map(|elem| Ty { elem, lanes }).ok_or_else(|| format!("{name} is no type"))
    }

    /// Counts a level of nesting, which the caller gives back.
    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH { Err("nested too deeply".into()) } else { Ok(()) }
    }

    /// `item, item, …` up to `)`, which is read too.
    fn list(&mut self, mut item: impl FnMut(&mut Parser) -> Result<(), String>) -> Result<(), String> {
        if self.sign(')') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.sign(')') {
                return Ok(());
            }
            self.need(',')?;
        }
    }

    fn micro_kernel(&mut self) -> Result<MicroKernel, String> {
        let name = self.name()?;
        let mut build = LeafText::default();
        self.need('(')?;
        let mut params = PrimaryMap::new();
        let mut vars = Vec::new();
        self.list(|p| {
            let key = p.key()?;
            p.need(':')?;
            let name = key.0.clone();
            if p.accept("int") {
                params.push(MicroKernelParam::Int { name, var: Var::new(vars.len()) });
                vars.push(key);
                build.params.push((String::new(), None));
            } else {
                params.push(MicroKernelParam::Pointer { name, elem: p.elem()?, access: p.access()? });
                build.params.push(key);
            }
            Ok(())
        })?;
        build.vars = vars;
        let together = if self.accept("together") { Some(self.together()?) } else { None };
        let body = self.insts(&mut build)?.0;
        let unknown = build.values.iter().position(Option::is_none);
        if let Some(i) = unknown {
            return Err(format!("%{i} has no definition"));
        }
        let values = build.values.into_iter().flatten().collect();
        Ok(MicroKernel { name, params, values, vars: build.vars.into_iter().map(|k| k.0).collect(), body, together })
    }

    fn together(&mut self) -> Result<Together, String> {
        let format = Format::ALL.into_iter().find(|format| self.accept(format.name())).ok_or("a format is missing")?;
        let mut numbers = [0; 5];
        for number in &mut numbers {
            self.need(',')?;
            *number = self.number()?;
        }
        let [rows, columns, depth, a, b] = numbers;
        Ok(Together { format, rows, columns, depth, pitches: [a, b] })
    }

    fn value(&mut self) -> Result<Val, String> {
        self.need('%')?;
        let number: usize = self.number()?;
        // Each value is defined by tokens of its own.
        if number > self.tokens.len() {
            return Err(format!("%{number} is far from the others"));
        }
        Ok(Val::new(number))
    }

    /// `%3: f32x4`
    fn typed(&mut self, build: &mut LeafText) -> Result<Val, String> {
        let value = self.value()?;
        self.need(':')?;
        let ty = self.ty()?;
        let at = value.index();
        if build.values.len() <= at {
            build.values.resize(at + 1, None);
        }
        build.values[at] = Some(ty);
        Ok(value)
    }

    /// A block in braces, and the values behind `next` at its end.
    fn insts(&mut self, build: &mut LeafText) -> Result<(Vec<Inst>, Vec<Val>), String> {
        self.need('{')?;
        self.deeper()?;
        let (mut body, mut next) = (Vec::new(), Vec::new());
        while !self.sign('}') {
            if self.accept("store") {
                let to = self.address(build)?;
                self.need(',')?;
                let value = self.value()?;
                body.push(Inst::Store { to, value, count: self.first()? });
            } else if self.accept("prefetch") {
                body.push(Inst::Prefetch { from: self.address(build)? });
            } else if self.accept("for") {
                body.push(self.repeat(build)?);
            } else if self.accept("next") {
                next.push(self.value()?);
                while self.sign(',') {
                    next.push(self.value()?);
                }
            } else {
                let result = self.typed(build)?;
                self.need('=')?;
                let op = self.op(build, build.values[result.index()].expect("just set"))?;
                body.push(Inst::Let { result, op });
            }
        }
        self.depth -= 1;
        Ok((body, next))
    }

    fn repeat(&mut self, build: &mut LeafText) -> Result<Inst, String> {
        let key = self.key()?;
        let var = Var::new(build.vars.len());
        self.need('=')?;
        if self.number::<i64>()? != 0 {
            return Err("loops of micro_kernels start from 0".into());
        }
        self.need_word("to")?;
        let count = self.index(build)?;
        build.vars.push(key);
        let (mut init, mut params, mut results) = (Vec::new(), Vec::new(), Vec::new());
        if self.accept("carry") {
            loop {
                params.push(self.typed(build)?);
                self.need('=')?;
                init.push(self.value()?);
                if !self.sign(',') {
                    break;
                }
            }
        }
        let (body, next) = self.insts(build)?;
        if self.accept("giving") {
            results.push(self.typed(build)?);
            while self.sign(',') {
                results.push(self.typed(build)?);
            }
        }
        Ok(Inst::Loop { var, count, init, params, body, next, results })
    }

    fn first(&mut self) -> Result<Option<u32>, String> {
        if self.accept("first") { Ok(Some(self.number()?)) } else { Ok(None) }
    }

    fn address(&mut self, build: &LeafText) -> Result<Address, String> {
        let key = self.key()?;
        let base = find(&build.params, &key).ok_or_else(|| format!("no pointer {}", key.0))?;
        self.need('[')?;
        let index = self.index(build)?;
        self.need(']')?;
        Ok(Address { base: Param::new(base), index })
    }

    /// `3 + 4*i - j`
    fn index(&mut self, build: &LeafText) -> Result<Index, String> {
        let mut index = Index::default();
        let mut negative = self.sign('-');
        loop {
            let sign = if negative { -1 } else { 1 };
            let mut term = |key: Key, c: i64| -> Result<(), String> {
                let var = find(&build.vars, &key).ok_or_else(|| format!("no variable {}", key.0))?;
                index = std::mem::take(&mut index).plus(Var::new(var), c);
                Ok(())
            };
            if let Token::Number(digits) = self.peek().clone() {
                self.advance();
                let text = if negative { format!("-{digits}") } else { digits };
                let number: i64 = text.parse().map_err(|_| format!("{text} is no integer"))?;
                if self.sign('*') {
                    term(self.key()?, number)?
                } else {
                    index.offset = index.offset.wrapping_add(number)
                }
            } else {
                term(self.key()?, sign)?;
            }
            negative = match (self.sign('+'), self.sign('-')) {
                (_, true) => true,
                (true, _) => false,
                _ => return Ok(index),
            };
        }
    }

    fn op(&mut self, build: &LeafText, ty: Ty) -> Result<Op, String> {
        let lanes = ty.lanes;
        if self.accept("const") {
            return self.constant(ty);
        }
        Ok(if self.accept("iota") {
            Op::Iota { lanes }
        } else if self.accept("index") {
            Op::IndexI32 { index: self.index(build)?, lanes }
        } else if self.accept("splat") {
            Op::Splat { value: self.value()?, lanes }
        } else if self.accept("load") {
            Op::Load { from: self.address(build)?, ty, count: self.first()? }
        } else if self.accept("broadcast") {
            Op::Broadcast { from: self.address(build)?, ty }
        } else if self.accept("load_packed") {
            Op::LoadPacked { from: self.address(build)?, lanes }
        } else if self.accept("broadcast_packed") {
            Op::BroadcastPacked { from: self.address(build)?, lanes }
        } else if self.accept("fma") {
            let [a, b, c] = self.three()?;
            Op::Fma { a, b, c }
        } else if self.accept("select") {
            let [mask, then, otherwise] = self.three()?;
            Op::Select { mask, then, otherwise }
        } else if self.accept("dot2_bf16") {
            let [acc, a, b] = self.three()?;
            Op::Dot2Bf16 { acc, a, b }
        } else if self.accept("dot4_u8i8") {
            let [acc, a, b] = self.three()?;
            Op::Dot4U8I8 { acc, a, b }
        } else if self.accept("reduce") {
            let op = self.one_of(&BINARY).ok_or_else(|| self.expected("an operation"))?;
            Op::Reduce { op, value: self.value()? }
        } else if let Some(op) = self.one_of(&UNARY) {
            Op::Unary { op, value: self.value()? }
        } else if let Some(op) = self.one_of(&BINARY) {
            let [left, right] = self.two()?;
            Op::Binary { op, left, right }
        } else if let Some(op) = self.one_of(&COMPARE) {
            let [left, right] = self.two()?;
            Op::Compare { op, left, right }
        } else {
            return Err(self.expected("an operation"));
        })
    }

    fn two(&mut self) -> Result<[Val; 2], String> {
        let left = self.value()?;
        self.need(',')?;
        Ok([left, self.value()?])
    }

    fn three(&mut self) -> Result<[Val; 3], String> {
        let [a, b] = self.two()?;
        self.need(',')?;
        Ok([a, b, self.value()?])
    }

    fn constant(&mut self, ty: Ty) -> Result<Op, String> {
        let lanes = ty.lanes;
        if ty.elem != Elem::F32 {
            return Ok(Op::ConstI32 { value: self.number()?, lanes });
        }
        let bits = match self.peek() {
            Token::Number(digits) if digits.starts_with("0x") => {
                let bits = u32::from_str_radix(&digits[2..], 16).map_err(|_| format!("{digits} is no float's bits"))?;
                self.advance();
                bits
            }
            _ => self.number::<f32>()?.to_bits(),
        };
        Ok(Op::ConstF32 { bits, lanes })
    }

    fn kernel(&mut self, micro_kernels: &PrimaryMap<MicroKernelId, MicroKernel>) -> Result<Kernel, String> {
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
            let space = self.one_of(&SPACES).ok_or_else(|| self.expected("a memory space"))?;
            let key = self.key()?;
            self.need(':')?;
            let elem = self.elem()?;
            self.need('[')?;
            scratch.push(Scratch { name: key.0.clone(), elem, len: self.number()?, space });
            self.need(']')?;
            memory.push(key);
        }
        let vars = KVar::NAMES.map(|v| (v.to_string(), None)).to_vec();
        let mut build = KernelText { micro_kernels, memory, buffers: buffers.len(), vars };
        let body = self.stmts(&mut build)?;
        Ok(Kernel { name, buffers, scratch, vars: build.vars.into_iter().map(|k| k.0).collect(), body })
    }

    /// Statements up to `}`; the opening brace is read already.
    fn stmts(&mut self, build: &mut KernelText) -> Result<Vec<Stmt>, String> {
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

    fn range(&mut self, build: &mut KernelText) -> Result<Stmt, String> {
        let kinds = [
            (LoopKind::Serial, "for"),
            (LoopKind::Parallel, "parallel"),
            (LoopKind::Group, "group"),
            (LoopKind::Item, "item"),
        ];
        let kind = self.one_of(&kinds).ok_or_else(|| self.expected("a statement"))?;
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

    fn call(&mut self, build: &KernelText) -> Result<Stmt, String> {
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
    fn expr(&mut self, build: &KernelText, level: u8) -> Result<Expr, String> {
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

    fn atom(&mut self, build: &KernelText) -> Result<Expr, String> {
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

/// The place of a name in a list: its number, or the place of the only one without.
fn find(names: &[Key], key: &Key) -> Option<usize> {
    match key.1 {
        Some(number) => names.get(number).filter(|n| n.0 == key.0).map(|_| number),
        None => names.iter().position(|n| n == key),
    }
}

#[derive(Default)]
struct LeafText {
    /// Pointers; integers have no name here.
    params: Vec<Key>,
    vars: Vec<Key>,
    values: Vec<Option<Ty>>,
}

struct KernelText<'a> {
    micro_kernels: &'a PrimaryMap<MicroKernelId, MicroKernel>,
    memory: Vec<Key>,
    buffers: usize,
    vars: Vec<Key>,
}
