//! Reads micro-kernels.

use super::lex::Token;
use super::{Key, Parser, find};
use crate::kernel::ir::*;
use crate::types::Format;

/// What the text has defined so far.
#[derive(Default)]
struct Names {
    /// Pointers; integers have no name here.
    params: Vec<Key>,
    vars: Vec<Key>,
    values: Vec<Option<Ty>>,
}

impl Parser {
    pub(super) fn micro_kernel(&mut self) -> Result<MicroKernel, String> {
        let name = self.name()?;
        let mut build = Names::default();
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
        let warp_cooperative = if self.accept("warp_cooperative") { Some(self.warp_product()?) } else { None };
        let body = self.insts(&mut build)?.0;
        let unknown = build.values.iter().position(Option::is_none);
        if let Some(i) = unknown {
            return Err(format!("%{i} has no definition"));
        }
        let values = build.values.into_iter().flatten().collect();
        Ok(MicroKernel {
            name,
            params,
            values,
            vars: build.vars.into_iter().map(|k| k.0).collect(),
            body,
            warp_cooperative,
        })
    }

    fn warp_product(&mut self) -> Result<WarpProduct, String> {
        let format = Format::ALL.into_iter().find(|format| self.accept(format.name())).ok_or("a format is missing")?;
        let mut numbers = [0; 5];
        for number in &mut numbers {
            self.need(',')?;
            *number = self.number()?;
        }
        let [rows, columns, depth, a, b] = numbers;
        Ok(WarpProduct { format, rows, columns, depth, pitches: [a, b] })
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

    /// One or more values.
    fn values(&mut self) -> Result<Vec<Val>, String> {
        let mut values = vec![self.value()?];
        while self.sign(',') {
            values.push(self.value()?);
        }
        Ok(values)
    }

    /// `%3: f32x4`
    fn typed(&mut self, build: &mut Names) -> Result<Val, String> {
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
    fn insts(&mut self, build: &mut Names) -> Result<(Vec<Inst>, Vec<Val>), String> {
        self.need('{')?;
        self.deeper()?;
        let (mut body, mut next) = (Vec::new(), Vec::new());
        while !self.sign('}') {
            if self.accept("store") {
                let to = self.address(build)?;
                self.need(',')?;
                let value = self.value()?;
                body.push(Inst::Store { to, value, count: self.first()? });
            } else if self.accept("store_tile") {
                let to = self.address(build)?;
                self.need(',')?;
                let value = self.value()?;
                body.push(Inst::StoreTile { to, value, pitch: self.pitch()? });
            } else if self.accept("prefetch") {
                body.push(Inst::Prefetch { from: self.address(build)? });
            } else if self.accept("for") {
                body.push(self.repeat(build)?);
            } else if self.accept("next") {
                next = self.values()?;
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

    fn repeat(&mut self, build: &mut Names) -> Result<Inst, String> {
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

    fn pitch(&mut self) -> Result<u32, String> {
        self.need_word("pitch")?;
        self.number()
    }

    fn first(&mut self) -> Result<Option<u32>, String> {
        if self.accept("first") { Ok(Some(self.number()?)) } else { Ok(None) }
    }

    fn address(&mut self, build: &Names) -> Result<Address, String> {
        let key = self.key()?;
        let base = find(&build.params, &key).ok_or_else(|| format!("no pointer {}", key.0))?;
        self.need('[')?;
        let index = self.index(build)?;
        self.need(']')?;
        Ok(Address { base: Param::new(base), index })
    }

    /// `3 + 4*i - j`
    fn index(&mut self, build: &Names) -> Result<Index, String> {
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
                let number: i64 = text.parse().map_err(|_| format!("{text} is not an integer"))?;
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

    fn op(&mut self, build: &Names, ty: Ty) -> Result<Op, String> {
        if self.accept("const") {
            return self.constant(ty);
        }
        if self.accept("index") {
            return Ok(Op::IndexI32 { index: self.index(build)?, lanes: ty.lanes });
        }
        let mut words = self.name()?;
        if words == Op::REDUCE {
            words = format!("{words} {}", self.name()?);
        }
        // A name without an index starts the next instruction.
        let memory = matches!(self.peek(), Token::Name(..)) && self.tokens[self.at + 1].0 == Token::Sign('[');
        let op = if memory {
            let from = self.address(build)?;
            match words.ends_with("_tile") {
                true => Op::of_tile(&words, from, ty, self.pitch()?),
                false => Op::of_memory(&words, from, ty, self.first()?),
            }
        } else {
            // A value with a type starts the next instruction.
            let typed = matches!(self.tokens.get(self.at + 2), Some((Token::Sign(':'), _)));
            let some = *self.peek() == Token::Sign('%') && !typed;
            let values = if some { self.values()? } else { Vec::new() };
            Op::of_values(&words, &values, ty)
        };
        op.ok_or_else(|| format!("{words} is not an operation on this"))
    }

    fn constant(&mut self, ty: Ty) -> Result<Op, String> {
        let lanes = ty.lanes;
        if ty.elem != Elem::F32 {
            return Ok(Op::ConstI32 { value: self.number()?, lanes });
        }
        let bits = match self.peek() {
            Token::Number(digits) if digits.starts_with("0x") => {
                let bits =
                    u32::from_str_radix(&digits[2..], 16).map_err(|_| format!("{digits} are not a float's bits"))?;
                self.advance();
                bits
            }
            _ => self.number::<f32>()?.to_bits(),
        };
        Ok(Op::ConstF32 { bits, lanes })
    }
}
