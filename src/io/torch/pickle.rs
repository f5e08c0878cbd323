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

    /// Takes this many values, in the order in which they were put there.
    fn last(&mut self, count: usize) -> Result<Vec<Value>, TorchError> {
        match self.stack.len().checked_sub(count) {
            Some(from) => Ok(self.stack.split_off(from)),
            None => wrong("takes a value where there is none"),
        }
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

    /// Reads a length of as many bytes as the operation says, and the bytes behind it.
    fn sized(&mut self, code: u8) -> Result<&'b [u8], TorchError> {
        let length = self.number(match code {
            b'X' | b'B' => 4,
            0x8d | 0x8e => 8,
            _ => 1,
        })?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Carries out one operation; gives `false` at the end.
    fn step(&mut self) -> Result<bool, TorchError> {
        let code = self.take(1)?[0];
        match code {
            b'.' => return Ok(false),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'q' | b'r' => {
                let place = self.number(if code == b'q' { 1 } else { 4 })?;
                self.memoize(place)?;
            }
            0x94 => self.memoize(self.memo.len() as u64)?,
            b'h' | b'j' => {
                let place = self.number(if code == b'h' { 1 } else { 4 })?;
                self.recall(place)?;
            }
            b'R' | 0x81 => self.call()?,
            // The state of an object: nothing of it is needed.
            b'b' | b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b's' | b'u' | b'e' | b'a' => {
                let items = match code {
                    b's' => self.last(2)?,
                    b'a' => self.last(1)?,
                    _ => self.marked()?,
                };
                self.add(items)?;
            }
            b'}' | b']' => self.grow(code == b'}')?,
            _ => {
                let value = self.value(code)?;
                self.push(value)?;
            }
        }
        Ok(true)
    }

    /// Makes the value of an operation that makes one.
    fn value(&mut self, code: u8) -> Result<Value, TorchError> {
        Ok(match code {
            b'N' => Value::Nothing,
            0x88 | 0x89 => Value::Int(i64::from(code == 0x88)),
            b'K' => Value::Int(self.number(1)? as i64),
            b'M' => Value::Int(self.number(2)? as i64),
            b'J' => Value::Int((self.number(4)? as i32).into()),
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                Value::Nothing
            }
            b'X' | 0x8c | 0x8d => Value::Text(String::from_utf8_lossy(self.sized(code)?).as_ref().into()),
            b'B' | b'C' | 0x8e => {
                self.sized(code)?;
                Value::Nothing
            }
            b')' => Value::Tuple(Rc::new(vec![])),
            b't' => Value::Tuple(self.marked()?.into()),
            0x85..=0x87 => Value::Tuple(self.last(usize::from(code - 0x84))?.into()),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let name = format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name));
                Value::Global(name.into())
            }
            0x93 => match &self.last(2)?[..] {
                [Value::Text(module), Value::Text(name)] => Value::Global(format!("{module}.{name}").into()),
                _ => return wrong("names a function by what is not text"),
            },
            b'Q' => match self.pop()? {
                Value::Tuple(parts) => Value::Outside(parts),
                _ => Value::Nothing,
            },
            b'2' => match self.stack.last() {
                Some(top) => top.clone(),
                None => return wrong("doubles a value that is not there"),
            },
            other => return wrong(format!("has the operation {other:#04x}, which no tensors need")),
        })
    }

    /// Reads a whole number of up to eight bytes, negative ones by their complement.
    fn long(&mut self) -> Result<Value, TorchError> {
        let width = self.number(1)? as usize;
        let bytes = self.take(width)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut whole = [if negative { 0xff } else { 0 }; 8];
        if width > whole.len() {
            return Ok(Value::Nothing);
        }
        whole[..width].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }
}
