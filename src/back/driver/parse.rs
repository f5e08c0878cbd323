//! Parser of the driver language: one token ahead, binary operators by precedence.

use super::ast::*;
use super::error::DriverError;
use super::lex::{Token, lex};

/// Parses a text; an error names the line that breaks the grammar.
pub fn parse(text: &str) -> Result<Program, DriverError> {
    let mut parser = Parser { tokens: lex(text)?, at: 0 };
    let mut program = Program::default();
    while *parser.peek() != Token::End {
        parser.item(&mut program)?;
    }
    Ok(program)
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
}

/// Binary operators by precedence, weakest first.
const LEVELS: [&[(&str, Op)]; 8] = [
    &[("||", Op::Either)],
    &[("&&", Op::Both)],
    &[("==", Op::Eq), ("!=", Op::Ne), ("<=", Op::Le), (">=", Op::Ge), ("<", Op::Lt), (">", Op::Gt)],
    &[("|", Op::Or)],
    &[("^", Op::Xor)],
    &[("&", Op::And), ("<<", Op::Shl), (">>", Op::Shr)],
    &[("+", Op::Add), ("-", Op::Sub)],
    &[("*", Op::Mul), ("/", Op::Div), ("%", Op::Rem)],
];

fn cell(word: &str) -> Option<Cell> {
    Some(match word {
        "u8" => Cell::U8,
        "i32" => Cell::I32,
        "u32" => Cell::U32,
        "i64" => Cell::I64,
        "f32" => Cell::F32,
        "f64" => Cell::F64,
        "f32x4" => Cell::F32x4,
        _ => return None,
    })
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn error<T>(&self, wanted: &str) -> Result<T, DriverError> {
        let (line, token) = &self.tokens[self.at];
        Err(DriverError::Syntax { line: *line, what: format!("expected {wanted}, found {token:?}") })
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Token::Sign(s) if *s == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), DriverError> {
        if self.accept(sign) { Ok(()) } else { self.error(&format!("`{sign}`")) }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(w) if w == word)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    fn name(&mut self) -> Result<String, DriverError> {
        if let Token::Word(_) = self.peek()
            && let Token::Word(word) = self.next()
        {
            return Ok(word);
        }
        self.error("a name")
    }

    fn item(&mut self, program: &mut Program) -> Result<(), DriverError> {
        if self.accept_word("const") {
            let name = self.name()?;
            self.expect("=")?;
            let Token::Int(value) = self.next() else { return self.error("a number before this") };
            self.expect(";")?;
            program.constants.push((name, value));
            return Ok(());
        }
        if self.accept_word("extern") {
            let name = self.name()?;
            self.expect("(")?;
            let Token::Int(params) = self.next() else { return self.error("a count before this") };
            self.expect(")")?;
            let int = self.accept("->");
            if int && !self.accept_word("i32") {
                return self.error("`i32`");
            }
            self.expect(";")?;
            program.externs.push(Extern { name, params: params as usize, int });
            return Ok(());
        }
        let export = self.accept_word("export");
        if !self.accept_word("fn") {
            return self.error("`fn`");
        }
        let name = self.name()?;
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.accept(")") {
            let param = self.name()?;
            let ty = if self.accept(":") { self.ty()? } else { Ty::Int };
            params.push((param, ty));
            if !self.is(")") {
                self.expect(",")?;
            }
        }
        let body = self.block()?;
        program.functions.push(Function { name, params, export, body });
        Ok(())
    }

    fn ty(&mut self) -> Result<Ty, DriverError> {
        match self.name()?.as_str() {
            "int" => Ok(Ty::Int),
            "f32" => Ok(Ty::F32),
            "f64" => Ok(Ty::F64),
            _ => self.error("a type before this"),
        }
    }

    fn block(&mut self) -> Result<Vec<Line>, DriverError> {
        self.expect("{")?;
        let mut lines = Vec::new();
        while !self.accept("}") {
            let line = self.tokens[self.at].0;
            let stmt = self.stmt()?;
            lines.push(Line { line, stmt });
        }
        Ok(lines)
    }

    fn stmt(&mut self) -> Result<Stmt, DriverError> {
        if self.accept_word("if") {
            return self.branch();
        }
        if self.accept_word("while") {
            let condition = self.expr()?;
            return Ok(Stmt::While(condition, self.block()?));
        }
        let stmt = if self.accept_word("let") {
            let name = self.name()?;
            self.expect("=")?;
            Stmt::Let(name, self.expr()?)
        } else if self.accept_word("return") {
            Stmt::Return(if self.is(";") { Expr::Int(0) } else { self.expr()? })
        } else if self.accept_word("break") {
            Stmt::Break
        } else {
            let target = self.expr()?;
            match (self.accept("="), target) {
                (false, target) => Stmt::Do(target),
                (true, Expr::Name(name)) => Stmt::Set(name, self.expr()?),
                (true, Expr::Load(cell, address)) => Stmt::Store(cell, *address, self.expr()?),
                (true, _) => return self.error("a variable or memory before `=`, not this value and then"),
            }
        };
        self.expect(";")?;
        Ok(stmt)
    }

    fn branch(&mut self) -> Result<Stmt, DriverError> {
        let condition = self.expr()?;
        let then = self.block()?;
        let otherwise = match self.accept_word("else") {
            false => vec![],
            true if self.is_word("if") => {
                let line = self.tokens[self.at].0;
                self.next();
                vec![Line { line, stmt: self.branch()? }]
            }
            true => self.block()?,
        };
        Ok(Stmt::If(condition, then, otherwise))
    }

    fn expr(&mut self) -> Result<Expr, DriverError> {
        self.level(0)
    }

    fn level(&mut self, level: usize) -> Result<Expr, DriverError> {
        let Some(signs) = LEVELS.get(level) else { return self.operand() };
        let mut left = self.level(level + 1)?;
        while let Some((_, op)) = signs.iter().find(|(sign, _)| self.is(sign)) {
            self.next();
            let right = self.level(level + 1)?;
            left = Expr::Binary(*op, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expr, DriverError> {
        match self.next() {
            Token::Int(value) => Ok(Expr::Int(value)),
            Token::Float(value) => Ok(Expr::Float(value)),
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Sign("@") => Ok(Expr::Data(self.name()?)),
            Token::Sign("&") => Ok(Expr::Function(self.name()?)),
            Token::Sign("!") => Ok(Expr::Binary(Op::Eq, Box::new(self.operand()?), Box::new(Expr::Int(0)))),
            Token::Sign("-") => match self.operand()? {
                Expr::Int(value) => Ok(Expr::Int(-value)),
                Expr::Float(value) => Ok(Expr::Float(-value)),
                other => Ok(Expr::Binary(Op::Sub, Box::new(Expr::Int(0)), Box::new(other))),
            },
            Token::Sign("(") => {
                let inside = self.expr()?;
                self.expect(")")?;
                Ok(inside)
            }
            Token::Word(word) => {
                if let (Some(cell), true) = (cell(&word), self.is("[")) {
                    self.next();
                    let address = self.expr()?;
                    self.expect("]")?;
                    return Ok(Expr::Load(cell, Box::new(address)));
                }
                if !self.accept("(") {
                    return Ok(Expr::Name(word));
                }
                let mut args = Vec::new();
                while !self.accept(")") {
                    args.push(self.expr()?);
                    if !self.is(")") {
                        self.expect(",")?;
                    }
                }
                Ok(Expr::Call(word, args))
            }
            _ => {
                self.at -= 1;
                self.error("a value")
            }
        }
    }
}
