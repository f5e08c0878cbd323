//! Protocol buffers as text: names with values, `name: 1`, or with messages, `name { … }`.

use crate::io::error::ImportError;

/// Most bytes of a text; its fields take some thirty times as many.
const MOST: usize = 1 << 20;
/// Messages within messages.
const DEEPEST: usize = 32;

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The line that it begins in, from 1 on.
    pub line: usize,
    /// Its value.
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number, `true` or `false`, or a word of an enumeration.
    Word(String),
    /// What stands in quotes.
    Text(String),
    /// A message.
    Message(Vec<Field>),
}

impl Field {
    /// Makes an error about the field.
    pub fn wrong(&self, what: &str) -> ImportError {
        ImportError::Syntax { line: self.line, what: format!("`{}` {what}", self.name) }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(Vec<u8>),
    Mark(u8),
    End,
}

struct Parser<'t> {
    rest: &'t [u8],
    line: usize,
    token: Token,
}

/// Reads a message.
pub fn parse(bytes: &[u8]) -> Result<Vec<Field>, ImportError> {
    if bytes.len() > MOST {
        let what = format!("it has {} bytes, and a network's text has {MOST} at most", bytes.len());
        return Err(ImportError::Ports(what));
    }
    let mut parser = Parser { rest: bytes, line: 1, token: Token::End };
    parser.next()?;
    parser.fields(None, 0)
}

impl Parser<'_> {
    fn wrong(&self, what: impl Into<String>) -> ImportError {
        ImportError::Syntax { line: self.line, what: what.into() }
    }

    /// Reads the next token, past spaces and comments.
    fn next(&mut self) -> Result<(), ImportError> {
        loop {
            match self.rest {
                [b'\n', ..] => {
                    self.line += 1;
                    self.rest = &self.rest[1..];
                }
                [b'#', ..] => {
                    let end = self.rest.iter().position(|b| *b == b'\n').unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                [b, ..] if b.is_ascii_whitespace() => self.rest = &self.rest[1..],
                _ => break,
            }
        }
        let letter = |b: &u8| b.is_ascii_alphanumeric() || b"_+-.".contains(b);
        self.token = match self.rest {
            [] => Token::End,
            [quote @ (b'"' | b'\''), ..] => {
                let quote = *quote;
                self.rest = &self.rest[1..];
                Token::Text(self.quoted(quote)?)
            }
            [b, ..] if letter(b) => {
                let count = self.rest.iter().take_while(|b| letter(b)).count();
                let word = String::from_utf8_lossy(&self.rest[..count]).into_owned();
                self.rest = &self.rest[count..];
                Token::Word(word)
            }
            [b, ..] if b"{}<>[]:;,".contains(b) => {
                let mark = *b;
                self.rest = &self.rest[1..];
                Token::Mark(mark)
            }
            [b, ..] => return Err(self.wrong(format!("the byte {b:#04x} stands where a name or a value may"))),
        };
        Ok(())
    }

    /// Reads what stands in quotes, behind the first.
    fn quoted(&mut self, quote: u8) -> Result<Vec<u8>, ImportError> {
        let mut text = Vec::new();
        loop {
            let (byte, rest) = match self.rest {
                [] | [b'\n', ..] => return Err(self.wrong("a text has no closing quote in its line")),
                [byte, rest @ ..] => (*byte, rest),
            };
            self.rest = rest;
            match byte {
                b'\\' => text.push(self.escaped()?),
                b if b == quote => return Ok(text),
                b => text.push(b),
            }
        }
    }

    /// Reads what stands behind a backslash.
    fn escaped(&mut self) -> Result<u8, ImportError> {
        let (&kind, rest) = self.rest.split_first().ok_or_else(|| self.wrong("a text has no closing quote"))?;
        let digits = |bytes: &[u8], radix: u32, most: usize| {
            let count = bytes.iter().take(most).take_while(|b| char::from(**b).is_digit(radix)).count();
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            u8::from_str_radix(&text, radix).ok().map(|value| (value, count))
        };
        let number = match kind {
            b'x' => digits(rest, 16, 2).map(|(value, count)| (value, 1 + count)),
            b'0'..=b'7' => digits(self.rest, 8, 3),
            _ => None,
        };
        let (byte, count) = match kind {
            _ if let Some(number) = number => number,
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'r' => (b'\r', 1),
            b'\\' | b'"' | b'\'' => (kind, 1),
            _ => return Err(self.wrong("a text has a backslash before something else than an escape")),
        };
        self.rest = &self.rest[count..];
        Ok(byte)
    }

    /// Reads fields up to the end, or to the mark that closes them.
    fn fields(&mut self, close: Option<u8>, depth: usize) -> Result<Vec<Field>, ImportError> {
        if depth > DEEPEST {
            return Err(self.wrong(format!("messages nest more than {DEEPEST} deep")));
        }
        let mut fields = Vec::new();
        loop {
            match (&self.token, close) {
                (Token::Mark(b';' | b','), _) => self.next()?,
                (Token::Mark(mark), Some(close)) if *mark == close => {
                    self.next()?;
                    return Ok(fields);
                }
                (Token::End, None) => return Ok(fields),
                (Token::End, _) => return Err(self.wrong("a message is not closed")),
                (Token::Word(name), _) => {
                    let name = name.clone();
                    let line = self.line;
                    self.next()?;
                    self.values(&name, line, depth, &mut fields)?;
                }
                _ => return Err(self.wrong("a name is expected")),
            }
        }
    }

    /// Reads a field's value, or the list of its values.
    fn values(&mut self, name: &str, line: usize, depth: usize, into: &mut Vec<Field>) -> Result<(), ImportError> {
        let colon = self.token == Token::Mark(b':');
        if colon {
            self.next()?;
        }
        let list = colon && self.token == Token::Mark(b'[');
        if list {
            self.next()?;
        }
        while !(list && self.token == Token::Mark(b']')) {
            let value = self.value(colon, depth)?;
            into.push(Field { name: name.into(), line, value });
            if !list {
                return Ok(());
            }
            match self.token {
                Token::Mark(b',') => self.next()?,
                Token::Mark(b']') => {}
                _ => return Err(self.wrong(format!("the list `{name}` is not closed"))),
            }
        }
        self.next()
    }

    fn value(&mut self, colon: bool, depth: usize) -> Result<Value, ImportError> {
        match std::mem::replace(&mut self.token, Token::End) {
            Token::Mark(open @ (b'{' | b'<')) => {
                self.next()?;
                Ok(Value::Message(self.fields(Some(if open == b'{' { b'}' } else { b'>' }), depth + 1)?))
            }
            Token::Word(word) if colon => {
                self.next()?;
                Ok(Value::Word(word))
            }
            Token::Text(mut text) if colon => {
                self.next()?;
                // Texts behind each other are one.
                while let Token::Text(more) = &self.token {
                    text.extend(more);
                    self.next()?;
                }
                Ok(Value::Text(String::from_utf8(text).map_err(|_| self.wrong("a text is not UTF-8"))?))
            }
            _ => Err(self.wrong("a value is expected: `name: value` or `name { … }`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Value, parse};

    #[test]
    fn every_form_of_a_field() {
        let text = "a: 1 b { c: 'x' 'y' } # d: 2\nb: < c: \"\\x41\\102\\n\" >; e: [ 1, -2.5 ], e: MAX g: []";
        let field = |name: &str, line, value| Field { name: name.into(), line, value };
        let word = |text: &str| Value::Word(text.into());
        let inner = |line, text: &str| Value::Message(vec![field("c", line, Value::Text(text.into()))]);
        let right = vec![
            field("a", 1, word("1")),
            field("b", 1, inner(1, "xy")),
            field("b", 2, inner(2, "AB\n")),
            field("e", 2, word("1")),
            field("e", 2, word("-2.5")),
            field("e", 2, word("MAX")),
        ];
        assert_eq!(parse(text.as_bytes()), Ok(right));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, says) in [
            ("a: 1\nb {", "line 2: a message is not closed"),
            ("a: 'x", "line 1: a text has no closing quote"),
            ("a: 1 }", "line 1: a name is expected"),
            ("a 1", "line 1: a value is expected"),
            ("a: [1 2]", "line 1: the list `a` is not closed"),
            ("\n\n@", "line 3: the byte 0x40"),
            (&"a {".repeat(40), "nest more than 32 deep"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
