//! Attributes of operators: one macro makes the struct, its text and its parser.

use super::error::AttrError;
use super::window::Window;
use crate::types::{DType, Format};
use ninc_runtime::plan::Role;
use std::fmt;

/// An attribute as the text form has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A text, or the word for a value of an enum.
    Text(String),
    /// Attributes in their order.
    List(Vec<Attr>),
    /// `normal(0.05)`, or `he`.
    Call(String, Vec<Attr>),
}

impl Attr {
    /// Makes an attribute of a name alone.
    pub fn word(name: &str) -> Attr {
        Attr::Call(name.into(), vec![])
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let list = |f: &mut fmt::Formatter, items: &[Attr]| -> fmt::Result {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{item}")?;
            }
            Ok(())
        };
        match self {
            Attr::Int(v) => write!(f, "{v}"),
            // {:?} keeps a point or an exponent, and prints the shortest text that reads back the same.
            Attr::Float(v) => write!(f, "{v:?}"),
            Attr::Bool(v) => write!(f, "{v}"),
            Attr::Text(v) => write!(f, "{v:?}"),
            Attr::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Attr::Call(name, items) if items.is_empty() => f.write_str(name),
            Attr::Call(name, items) => {
                write!(f, "{name}(")?;
                list(f, items)?;
                f.write_str(")")
            }
        }
    }
}

/// A Rust type that can be an attribute.
pub trait AttrValue: Sized {
    /// Returns the value as an attribute.
    fn to_attr(&self) -> Attr;
    /// Reads the value; `None` if the attribute is of another kind.
    fn from_attr(attr: &Attr) -> Option<Self>;
}

macro_rules! int_attr {
    ($($t:ty),*) => {$(
        impl AttrValue for $t {
            fn to_attr(&self) -> Attr {
                Attr::Int(*self as i64)
            }
            fn from_attr(attr: &Attr) -> Option<Self> {
                match attr {
                    Attr::Int(v) => (*v).try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}
int_attr!(usize, u32, i64);

impl AttrValue for f64 {
    fn to_attr(&self) -> Attr {
        Attr::Float(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Float(v) => Some(*v),
            Attr::Int(v) => Some(*v as f64),
            _ => None,
        }
    }
}

impl AttrValue for bool {
    fn to_attr(&self) -> Attr {
        Attr::Bool(*self)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Bool(v) => Some(*v),
            _ => None,
        }
    }
}

impl AttrValue for String {
    fn to_attr(&self) -> Attr {
        Attr::Text(self.clone())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Text(v) => Some(v.clone()),
            _ => None,
        }
    }
}

impl<T: AttrValue> AttrValue for Vec<T> {
    fn to_attr(&self) -> Attr {
        Attr::List(self.iter().map(T::to_attr).collect())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::List(items) => items.iter().map(T::from_attr).collect(),
            _ => None,
        }
    }
}

impl<T: AttrValue> AttrValue for [T; 2] {
    fn to_attr(&self) -> Attr {
        Attr::List(self.iter().map(T::to_attr).collect())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        Vec::from_attr(attr)?.try_into().ok()
    }
}

impl AttrValue for Role {
    fn to_attr(&self) -> Attr {
        Attr::Text(self.name().into())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.to_attr() == *attr)
    }
}

impl AttrValue for DType {
    fn to_attr(&self) -> Attr {
        Attr::word(self.name())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        DType::ALL.into_iter().find(|dtype| dtype.to_attr() == *attr)
    }
}

impl AttrValue for Format {
    fn to_attr(&self) -> Attr {
        Attr::word(self.name())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.to_attr() == *attr)
    }
}

/// `none` or the value.
impl<T: AttrValue> AttrValue for Option<T> {
    fn to_attr(&self) -> Attr {
        self.as_ref().map_or(Attr::word("none"), T::to_attr)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Call(name, items) if name == "none" && items.is_empty() => Some(None),
            _ => T::from_attr(attr).map(Some),
        }
    }
}

/// An attribute of an operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name in texts.
    pub name: &'static str,
    /// Its value in this operator.
    pub value: Attr,
    /// Whether the value is the one that is taken where a text does not give it.
    pub is_default: bool,
}

/// The attributes that a text gives, and which of them have been read.
pub struct Given<'a> {
    attrs: &'a [(String, Attr)],
    read: Vec<&'static str>,
}

impl<'a> Given<'a> {
    /// Begins with attributes that nothing has read yet.
    pub fn new(attrs: &'a [(String, Attr)]) -> Given<'a> {
        Given { attrs, read: vec![] }
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Attr> {
        self.read.push(name);
        self.attrs.iter().find(|(n, _)| n == name).map(|(_, attr)| attr)
    }

    /// Refuses attributes that nothing has read.
    pub fn finish(&self) -> Result<(), AttrError> {
        match self.attrs.iter().find(|(name, _)| !self.read.contains(&name.as_str())) {
            Some((name, _)) => Err(AttrError::Unknown(name.clone())),
            None => Ok(()),
        }
    }
}

/// What can be a field of an operator: one attribute, or several that belong together.
pub trait Field: Sized {
    /// Adds the field's attributes; `default` is its value where a text does not give it.
    fn put(&self, name: &'static str, default: Option<&Self>, attributes: &mut Vec<Attribute>);
    /// Takes the attribute `name` out of those given, or its default.
    fn take(name: &'static str, default: Option<Self>, given: &mut Given) -> Result<Self, AttrError>;
}

impl<T: AttrValue + PartialEq> Field for T {
    fn put(&self, name: &'static str, default: Option<&T>, attributes: &mut Vec<Attribute>) {
        attributes.push(Attribute { name, value: self.to_attr(), is_default: default == Some(self) });
    }

    fn take(name: &'static str, default: Option<T>, given: &mut Given) -> Result<T, AttrError> {
        match given.take(name) {
            Some(attr) => T::from_attr(attr).ok_or_else(|| AttrError::Value { name, value: attr.clone() }),
            None => default.ok_or(AttrError::Missing(name)),
        }
    }
}

/// A window's parts under their own names; only the kernel has no default.
impl Field for Window {
    fn put(&self, _name: &'static str, _default: Option<&Window>, attributes: &mut Vec<Attribute>) {
        self.kernel.put("kernel", None, attributes);
        self.stride.put("stride", Some(&Window::ONE.stride), attributes);
        self.pad.put("pad", Some(&Window::ONE.pad), attributes);
        self.dilation.put("dilation", Some(&Window::ONE.dilation), attributes);
    }

    fn take(_name: &'static str, _default: Option<Window>, given: &mut Given) -> Result<Window, AttrError> {
        Ok(Window {
            kernel: Field::take("kernel", None, given)?,
            stride: Field::take("stride", Some(Window::ONE.stride), given)?,
            pad: Field::take("pad", Some(Window::ONE.pad), given)?,
            dilation: Field::take("dilation", Some(Window::ONE.dilation), given)?,
        })
    }
}

/// Declares an operator's struct with its attributes, and their text both ways. `field: type = value` gives a default:
/// what has it is not printed.
macro_rules! attributes {
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
    ($(#[$meta:meta])* $name:ident {
        $($(#[$fmeta:meta])* $field:ident: $ty:ty $(= $default:expr)?),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$fmeta])* #[doc = concat!("`", stringify!($field), "` in the text of graphs.")] pub $field: $ty),*
        }

        impl $crate::ops::Attributes for $name {
            #[allow(unused_mut)]
            fn attrs(&self) -> Vec<$crate::ops::attr::Attribute> {
                let mut attributes = vec![];
                $({
                    let default: Option<$ty> = $crate::ops::attr::attributes!(@default $($default)?);
                    $crate::ops::attr::Field::put(&self.$field, stringify!($field), default.as_ref(), &mut attributes);
                })*
                attributes
            }
            #[allow(unused_variables)]
            fn take(given: &mut $crate::ops::attr::Given) -> Result<Self, $crate::ops::error::AttrError> {
                Ok($name { $($field: {
                    let default: Option<$ty> = $crate::ops::attr::attributes!(@default $($default)?);
                    $crate::ops::attr::Field::take(stringify!($field), default, given)?
                }),* })
            }
        }
    };
}
pub(crate) use attributes;
