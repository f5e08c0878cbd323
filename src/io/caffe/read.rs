//! Fields of a text into messages: what each field may be is said once, beside its number in the binary form.

use super::text::{Field, Value};
use crate::io::error::ImportError;

/// A value that a field of a text becomes. `words` are those of an enumeration, in the order of their numbers; names
/// of fields that a message does not have go to `unknown`.
pub trait Read: Sized {
    /// Reads the value.
    fn read(field: Field, words: &[&str], unknown: &mut Vec<String>) -> Result<Self, ImportError>;
}

/// A field of a message.
pub trait Take {
    /// Takes one value of the text.
    fn accept(&mut self, field: Field, words: &[&str], unknown: &mut Vec<String>) -> Result<(), ImportError>;
}

impl<T: Read> Take for Option<T> {
    fn accept(&mut self, field: Field, words: &[&str], unknown: &mut Vec<String>) -> Result<(), ImportError> {
        *self = Some(T::read(field, words, unknown)?);
        Ok(())
    }
}

impl<T: Read> Take for Vec<T> {
    fn accept(&mut self, field: Field, words: &[&str], unknown: &mut Vec<String>) -> Result<(), ImportError> {
        self.push(T::read(field, words, unknown)?);
        Ok(())
    }
}

impl<T: Read> Read for Box<T> {
    fn read(field: Field, words: &[&str], unknown: &mut Vec<String>) -> Result<Box<T>, ImportError> {
        Ok(Box::new(T::read(field, words, unknown)?))
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Read for $number {
            fn read(field: Field, words: &[&str], _: &mut Vec<String>) -> Result<$number, ImportError> {
                let Value::Word(word) = &field.value else { return Err(field.wrong("is not a number")) };
                let place = words.iter().position(|w| w == word).and_then(|place| place.try_into().ok());
                place.or_else(|| word.parse().ok()).ok_or_else(|| match words {
                    [] => field.wrong(&format!("is `{word}`, where a whole number is expected")),
                    _ => field.wrong(&format!("is `{word}`, which is none of {}", words.join(", "))),
                })
            }
        }
    )*};
}

numbers!(i32, i64, u32);

impl Read for f32 {
    fn read(field: Field, _: &[&str], _: &mut Vec<String>) -> Result<f32, ImportError> {
        let number = match &field.value {
            Value::Word(word) => word.strip_suffix(['f', 'F']).unwrap_or(word).parse().ok(),
            _ => None,
        };
        number.filter(|v: &f32| v.is_finite()).ok_or_else(|| field.wrong("is not a finite number"))
    }
}

impl Read for bool {
    fn read(field: Field, _: &[&str], _: &mut Vec<String>) -> Result<bool, ImportError> {
        match &field.value {
            Value::Word(word) if ["true", "t", "1", "True"].contains(&word.as_str()) => Ok(true),
            Value::Word(word) if ["false", "f", "0", "False"].contains(&word.as_str()) => Ok(false),
            _ => Err(field.wrong("is neither `true` nor `false`")),
        }
    }
}

impl Read for String {
    fn read(field: Field, _: &[&str], _: &mut Vec<String>) -> Result<String, ImportError> {
        match field.value {
            Value::Text(text) => Ok(text),
            _ => Err(field.wrong("is not a text in quotes")),
        }
    }
}

/// Declares messages: a field is its name in the text, its type, what `prost` is told, and the words of an enumeration;
/// behind `@` are fields that change nothing here.
macro_rules! messages {
    ($($name:ident {
        $($field:ident: $type:ty = [$($kind:tt)*] $([$($word:literal)*])?;)*
        $(@ $($skip:literal)*)?
    })*) => {$(
        #[derive(Clone, PartialEq, ::prost::Message)]
        pub struct $name {
            $(#[prost($($kind)*)] pub $field: $type,)*
        }

        impl Read for $name {
            fn read(field: Field, _: &[&str], unknown: &mut Vec<String>) -> Result<$name, ImportError> {
                let line = field.line;
                let Value::Message(fields) = field.value else {
                    let what = format!("`{}` is not a message: `{} {{ … }}`", field.name, field.name);
                    return Err(ImportError::Syntax { line, what });
                };
                let mut message = $name::default();
                for field in fields {
                    match field.name.as_str() {
                        $(name if name == stringify!($field).trim_start_matches("r#") => {
                            message.$field.accept(field, &[$($($word),*)?], unknown)?;
                        })*
                        $($($skip)|* => {})?
                        _ => unknown.push(field.name),
                    }
                }
                Ok(message)
            }
        }
    )*};
}

pub(super) use messages;
