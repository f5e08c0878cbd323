//! Reads the text of kernel IR. Here is what all of it is made of; micro-kernels and kernels have files of their own.

use crate::kernel::error::ParseError;
use crate::kernel::ir::*;
use lex::{Token, lex};

mod kernel;
mod lex;
mod micro_kernel;

/// Expressions and blocks may be nested this deep.
const DEPTH: usize = 100;

/// The module, or the first error with its line.
pub fn parse(text: &str) -> Result<Module, ParseError> {
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
        done.map_err(|what| ParseError { line: parser.line(), what })?;
    }
    Ok(module)
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
        let value = text.parse().map_err(|_| format!("{text} is not a number of this kind"))?;
        self.advance();
        Ok(value)
    }

    /// One of the words that `named` knows.
    fn one_of<T>(&mut self, named: fn(&str) -> Option<T>) -> Option<T> {
        let found = match self.peek() {
            Token::Name(name, None) => named(name),
            _ => None,
        };
        if found.is_some() {
            self.advance();
        }
        found
    }

    fn access(&mut self) -> Result<Access, String> {
        self.one_of(Access::named).ok_or_else(|| self.expected("read, write or readwrite"))
    }

    fn elem(&mut self) -> Result<Elem, String> {
        let ty = self.ty()?;
        if ty.lanes == 1 { Ok(ty.elem) } else { Err("an element type, not a vector's".into()) }
    }

    fn ty(&mut self) -> Result<Ty, String> {
        let name = self.name()?;
        let (elem, lanes) = match name.split_once('x') {
            Some((elem, lanes)) => (elem, lanes.parse().map_err(|_| format!("{name} is not a type"))?),
            None => (name.as_str(), 1),
        };
        Elem::named(elem).map(|elem| Ty { elem, lanes }).ok_or_else(|| format!("{name} is not a type"))
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
}

/// The place of a name in a list: its number, or the place of the only one without.
fn find(names: &[Key], key: &Key) -> Option<usize> {
    match key.1 {
        Some(number) => names.get(number).filter(|n| n.0 == key.0).map(|_| number),
        None => names.iter().position(|n| n == key),
    }
}
