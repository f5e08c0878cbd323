//! Attributes of operators: one macro makes the struct, its text and its parser.

use crate::types::Format;
use ninc_runtime::plan::Role;
use std::fmt;

/// An attribute as the text form has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Attr>),
    /// `normal(0.05)`
    Call(String, Vec<Attr>),
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
    fn to_attr(&self) -> Attr;
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

impl AttrValue for Format {
    fn to_attr(&self) -> Attr {
        Attr::Text(self.name().into())
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.to_attr() == *attr)
    }
}

/// `none` or the value.
impl<T: AttrValue> AttrValue for Option<T> {
    fn to_attr(&self) -> Attr {
        self.as_ref().map_or(Attr::Call("none".into(), vec![]), T::to_attr)
    }
    fn from_attr(attr: &Attr) -> Option<Self> {
        match attr {
            Attr::Call(name, items) if name == "none" && items.is_empty() => Some(None),
            _ => T::from_attr(attr).map(Some),
        }
    }
}

/// Declares an operator's struct with its attributes, and their text both ways.
macro_rules! attributes {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }

        impl $crate::ops::Attributes for $name {
            fn attrs(&self) -> Vec<(&'static str, $crate::ops::attr::Attr)> {
                vec![$((stringify!($field), $crate::ops::attr::AttrValue::to_attr(&self.$field))),*]
            }
            #[allow(unused_variables)]
            fn from_attrs(attrs: &[(String, $crate::ops::attr::Attr)]) -> Result<Self, String> {
                let known: &[&str] = &[$(stringify!($field)),*];
                if let Some((name, _)) = attrs.iter().find(|(n, _)| !known.contains(&n.as_str())) {
                    return Err(format!("unknown attribute `{name}`"));
                }
                Ok($name { $($field: {
                    let attr = attrs.iter().find(|(n, _)| n == stringify!($field));
                    let attr = attr.ok_or_else(|| format!("missing attribute `{}`", stringify!($field)))?;
                    $crate::ops::attr::AttrValue::from_attr(&attr.1)
                        .ok_or_else(|| format!("attribute `{}` cannot be {}", stringify!($field), attr.1))?
                }),* })
            }
        }
    };
}
pub(crate) use attributes;
