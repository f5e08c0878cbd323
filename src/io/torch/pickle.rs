//! A pickle to values. Names of functions and classes stay names: what would be called becomes a value that says what
//! it would have been called with.

use super::error::TorchError;
use std::collections::HashMap;
use std::rc::Rc;

/// Most values that a pickle makes.
const MOST: usize = 1 << 22;

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `None`, and what means nothing here.
    Nothing,
    /// A whole number or a truth value.
    Int(i64),
    /// A text.
    Text(Rc<str>),
    /// A tuple.
    Tuple(Rc<Vec<Value>>),
    /// A list or a dictionary, by its place among them: they grow after they are made.
    Grown(usize),
    /// The name of a function or a class, `module.name`.
    Global(Rc<str>),
    /// A reference to something outside of the pickle: its parts.
    Outside(Rc<Vec<Value>>),
    /// The call of a function with arguments, which is not made.
    Call(Rc<str>, Rc<Vec<Value>>),
}

/// A list's items, or a dictionary's keys and values in turn.
#[derive(Clone, Debug, Default)]
pub struct Grown {
    /// Whether it is a dictionary.
    pub dictionary: bool,
    /// Items, or keys and values in turn.
    pub items: Vec<Value>,
}

/// What a pickle holds.
pub struct Pickle {
    /// The whole.
    pub value: Value,
    /// Lists and dictionaries.
    pub grown: Vec<Grown>,
}

struct Machine<'b> {
    bytes: &'b [u8],
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    grown: Vec<Grown>,
    made: usize,
}

/// Reads a pickle of protocol 2 to 5.
pub fn read(bytes: &[u8]) -> Result<Pickle, TorchError> {
    let mut machine =
        Machine { bytes, at: 0, stack: vec![], marks: vec![], memo: HashMap::new(), grown: vec![], made: 0 };
    while machine.step()? {}
    let value = machine.pop()?;
    Ok(Pickle { value, grown: machine.grown })
}

fn wrong<T>(what: impl Into<String>) -> Result<T, TorchError> {
    Err(TorchError::Pickle(what.into()))
}

impl<'b> Machine<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], TorchError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return wrong("is cut short") };
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    /// Reads a whole number of this many bytes.
    fn number(&mut self, width: usize) -> Result<u64, TorchError> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn line(&mut self) -> Result<&'b [u8], TorchError> {
        let Some(length) = self.bytes[self.at..].iter().position(|&b| b == b'\n') else { return wrong("is cut short") };
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) -> Result<(), TorchError> {
        self.made += 1;
        if self.made > MOST {
            return wrong("makes too many values");
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, TorchError> {
        self.stack.pop().map_or_else(|| wrong("takes a value where there is none"), Ok)
    }

    /// Takes all values since the last mark.
    fn marked(&mut self) -> Result<Vec<Value>, TorchError> {
        match self.marks.pop() {
            Some(mark) if mark <= self.stack.len() => Ok(self.stack.split_off(mark)),
            _ => wrong("takes values up to a mark that is not there"),
        }
    }

    fn text(&mut self, length: u64) -> Result<(), TorchError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let text = String::from_utf8_lossy(self.take(length)?);
        self.push(Value::Text(text.as_ref().into()))
    }

    fn tuple(&mut self, count: usize) -> Result<(), TorchError> {
        let Some(from) = self.stack.len().checked_sub(count) else { return wrong("makes a tuple of nothing") };
        let items = self.stack.split_off(from);
        self.push(Value::Tuple(items.into()))
    }

    fn grow(&mut self, dictionary: bool) -> Result<(), TorchError> {
        self.grown.push(Grown { dictionary, items: vec![] });
        self.push(Value::Grown(self.grown.len() - 1))
    }

    /// Adds items to the list or dictionary on top; of anything else nobody looks at them.
    fn add(&mut self, items: Vec<Value>) -> Result<(), TorchError> {
        match self.stack.last() {
            Some(Value::Grown(at)) => self.grown[*at].items.extend(items),
            Some(_) => {}
            None => return wrong("adds to a value that is not there"),
        }
        Ok(())
    }

    /// Makes what a call stands for: ordered dictionaries are dictionaries, all others stay calls.
    fn call(&mut self) -> Result<(), TorchError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Global(name) = function else { return self.push(Value::Nothing) };
        match arguments {
            _ if &*name == "collections.OrderedDict" => self.grow(true),
            Value::Tuple(arguments) => self.push(Value::Call(name, arguments)),
            _ => self.push(Value::Call(name, Rc::new(vec![]))),
        }
    }

    fn memoize(&mut self, place: u64) -> Result<(), TorchError> {
        let Some(top) = self.stack.last().cloned() else { return wrong("keeps a value that is not there") };
        self.memo.insert(place as u32, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<(), TorchError> {
        match self.memo.get(&(place as u32)).cloned() {
            Some(value) => self.push(value),
            None => wrong("recalls a value that it did not keep"),
        }
    }

    /// Carries out one operation; gives `false` at the end.
    fn step(&mut self) -> Result<bool, TorchError> {
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'}' => self.grow(true)?,
            b']' => self.grow(false)?,
            b')' => self.push(Value::Tuple(Rc::new(vec![])))?,
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::Nothing)?,
            0x88 | 0x89 => self.push(Value::Int(i64::from(code == 0x88)))?,
            b'K' => {
                let value = self.number(1)? as i64;
                self.push(Value::Int(value))?;
            }
            b'M' => {
                let value = self.number(2)? as i64;
                self.push(Value::Int(value))?;
            }
            b'J' => {
                let value = self.number(4)? as i32;
                self.push(Value::Int(value.into()))?;
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Nothing)?;
            }
            b'X' | 0x8c | 0x8d => {
                let length = self.number(if code == b'X' {
                    4
                } else if code == 0x8c {
                    1
                } else {
                    8
                })?;
                self.text(length)?;
            }
            b'B' | b'C' | 0x8e => {
                let length = self.number(if code == b'B' {
                    4
                } else if code == b'C' {
                    1
                } else {
                    8
                })?;
                self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                self.push(Value::Nothing)?;
            }
            b't' => {
                let items = self.marked()?;
                self.push(Value::Tuple(items.into()))?;
            }
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b'q' | b'r' => {
                let place = self.number(if code == b'q' { 1 } else { 4 })?;
                self.memoize(place)?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' | b'j' => {
                let place = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(place)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.add(vec![key, value])?;
            }
            b'u' | b'e' => {
                let items = self.marked()?;
                self.add(items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.add(vec![item])?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let name = format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name));
                self.push(Value::Global(name.into()))?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => {
                    self.push(Value::Global(format!("{module}.{name}").into()))?
                }
                _ => return wrong("names a function by what is not text"),
            },
            b'R' | 0x81 => self.call()?,
            // The state of an object: nothing of it is needed.
            b'b' => drop(self.pop()?),
            b'Q' => match self.pop()? {
                Value::Tuple(parts) => self.push(Value::Outside(parts))?,
                _ => self.push(Value::Nothing)?,
            },
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => {
                let Some(top) = self.stack.last().cloned() else { return wrong("doubles a value that is not there") };
                self.push(top)?;
            }
            other => return wrong(format!("has the operation {other:#04x}, which no tensors need")),
        }
        Ok(true)
    }

    /// Reads a whole number of up to eight bytes, negative ones by their complement.
    fn long(&mut self) -> Result<(), TorchError> {
        let width = self.number(1)? as usize;
        let bytes = self.take(width)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        if width > whole.len() {
            return self.push(Value::Nothing);
        }
        whole[..width].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)))
    }
}
