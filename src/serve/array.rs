//! Arrays in JSON: nested lists of numbers, or a flat list with its shape. Numbers become float32 while they are read,
//! so that a body takes no more than twice its bytes.

use ninc_runtime::data::Values;
use ninc_runtime::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Dimensions of an array at most.
const RANKS: usize = 8;

/// An array of numbers.
#[derive(Debug, PartialEq)]
pub struct Array {
    /// Sizes of its dimensions.
    pub dims: Vec<usize>,
    /// Its numbers; bytes as for arrays of integers: where all lie from 0 to 255 and one is above 1.
    pub values: Values,
}

/// Reads an array from the text of a JSON body: `[[…], …]`, or `{"shape": […], "data": […]}`.
pub fn array(text: &[u8]) -> Result<Array> {
    let mut read = serde_json::Deserializer::from_slice(text);
    let mut numbers = Numbers { whole: true, ..Numbers::default() };
    let whole = Whole(&mut numbers);
    let damaged = |e: serde_json::Error| {
        let place = format!(" (line {}, column {})", e.line(), e.column());
        let what = e.to_string();
        // What it names may be as long as the body.
        let what: String = what.split(" at line ").next().unwrap_or_default().chars().take(120).collect();
        Error::new(format!("the body is not an array in JSON: {what}{place}")).with_help(
            "send nested lists of numbers like [[[0.5, …], …], …], or {\"shape\": [3, 32, 32], \"data\": [0.5, …]}",
        )
    };
    let shape = whole.deserialize(&mut read).map_err(damaged)?;
    read.end().map_err(damaged)?;
    let elements = shape.iter().flatten().try_fold(1usize, |n, &d| n.checked_mul(d));
    if let (Some(shape), true) = (&shape, elements != Some(numbers.values.len())) {
        let count = numbers.values.len();
        return Err(Error::new(format!("{count} numbers do not fill the shape {shape:?}")));
    }
    let byte = |v: &f32| (0.0..=255.0).contains(v);
    let bytes = numbers.whole && numbers.values.iter().all(byte) && numbers.values.iter().any(|&v| v > 1.0);
    let values = match bytes {
        true => Values::Bytes(numbers.values.iter().map(|&v| v as u8).collect()),
        false => Values::Floats(numbers.values),
    };
    Ok(Array { dims: shape.unwrap_or(numbers.dims.into_iter().flatten().collect()), values })
}

/// What was read so far.
#[derive(Default)]
struct Numbers {
    /// Sizes of the lists of each depth, from the outermost; `None` before the first one has ended.
    dims: Vec<Option<usize>>,
    values: Vec<f32>,
    /// The depth that numbers stand at.
    depth: Option<usize>,
    /// Were all numbers whole?
    whole: bool,
}

impl Numbers {
    fn push<E: serde::de::Error>(&mut self, depth: usize, value: f64) -> std::result::Result<(), E> {
        if *self.depth.get_or_insert(depth) != depth {
            return Err(E::custom("a number stands where a list of numbers is expected"));
        }
        self.values.push(value as f32);
        Ok(())
    }
}

/// A list or a number at a depth.
struct Nested<'a>(&'a mut Numbers, usize);

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> std::result::Result<(), E> {
        self.0.whole = false;
        self.0.push(self.1, value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.0.push(self.1, value as f64)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.0.push(self.1, value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let Nested(numbers, depth) = self;
        if depth >= RANKS {
            return Err(A::Error::custom(format!("more than {RANKS} lists in each other")));
        }
        if numbers.depth.is_some_and(|at| depth >= at) {
            return Err(A::Error::custom("a list stands where a number is expected"));
        }
        if numbers.dims.len() == depth {
            numbers.dims.push(None);
        }
        let mut count = 0;
        while list.next_element_seed(Nested(numbers, depth + 1))?.is_some() {
            count += 1;
        }
        match numbers.dims[depth] {
            Some(other) if other != count => {
                Err(A::Error::custom(format!("lists of {other} and of {count} elements side by side")))
            }
            _ => {
                numbers.dims[depth] = Some(count);
                Ok(())
            }
        }
    }
}

/// The shape that a body states.
struct Sizes;

impl<'de> DeserializeSeed<'de> for Sizes {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<Vec<usize>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Sizes {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of sizes, whole numbers from 0 on")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Vec<usize>, A::Error> {
        let mut sizes = Vec::new();
        while let Some(size) = list.next_element::<serde_json::Number>()? {
            let whole = size.as_u64().and_then(|size| usize::try_from(size).ok());
            let what = || A::Error::custom(format!("the shape has {size}, and sizes are whole numbers from 0 on"));
            sizes.push(whole.ok_or_else(what)?);
            if sizes.len() > RANKS {
                return Err(A::Error::custom(format!("a shape of more than {RANKS} dimensions")));
            }
        }
        Ok(sizes)
    }
}

/// The whole body. Its value is the shape, where the body states it.
struct Whole<'a>(&'a mut Numbers);

impl<'de> DeserializeSeed<'de> for Whole<'_> {
    type Value = Option<Vec<usize>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Option<Vec<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of numbers, or an object with `shape` and `data`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> std::result::Result<Self::Value, A::Error> {
        Nested(self.0, 0).visit_seq(list)?;
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let (mut shape, mut data) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            match &key[..] {
                "shape" if shape.is_none() => shape = Some(map.next_value_seed(Sizes)?),
                "data" if !data => {
                    map.next_value_seed(Nested(self.0, 0))?;
                    data = true;
                }
                "shape" | "data" => return Err(A::Error::custom(format!("`{key}` stands there twice"))),
                other => return Err(A::Error::custom(format!("`{other}` is neither `shape` nor `data`"))),
            }
        }
        match (shape, data) {
            (Some(shape), true) if (1..=RANKS).contains(&shape.len()) => Ok(Some(shape)),
            (Some(shape), true) => Err(A::Error::custom(format!("a shape of {} dimensions", shape.len()))),
            _ => Err(A::Error::custom("`shape` and `data` belong together")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<(Vec<usize>, Vec<f32>, bool), String> {
        let array = array(text.as_bytes()).map_err(|e| e.message)?;
        let bytes = matches!(array.values, Values::Bytes(_));
        Ok((array.dims, array.values.into_floats(), bytes))
    }

    #[test]
    fn nested_lists_and_flat_ones_with_a_shape_are_arrays() {
        assert_eq!(read("[[1, 2.5, -3e1], [4, 5, 6]]"), Ok((vec![2, 3], vec![1.0, 2.5, -30.0, 4.0, 5.0, 6.0], false)));
        assert_eq!(read(r#"{"data": [0, 255], "shape": [1, 2, 1]}"#), Ok((vec![1, 2, 1], vec![0.0, 255.0], true)));
        assert_eq!(read("[0, 1, 1]"), Ok((vec![3], vec![0.0, 1.0, 1.0], false)));
        assert_eq!(read("[]"), Ok((vec![0], vec![], false)));
    }

    #[test]
    fn what_is_no_array_says_where() {
        for (text, what) in [
            ("[[1], [2, 3]]", "lists of 1 and of 2 elements side by side"),
            ("[1, [2]]", "a list stands where a number is expected"),
            ("[[1], 2]", "a number stands where a list of numbers is expected"),
            ("[1, \"2\"]", "invalid type: string \"2\", expected a number or a list of numbers"),
            ("[1, null]", "invalid type: null, expected a number or a list of numbers"),
            ("[1, 2", "EOF while parsing a list"),
            ("[1] x", "trailing characters"),
            ("7", "invalid type: integer `7`, expected a list of numbers, or an object with `shape` and `data`"),
            (r#"{"shape": [2, 2], "data": [1, 2]}"#, "2 numbers do not fill the shape [2, 2]"),
            (r#"{"shape": [-1, 2], "data": [1, 2]}"#, "the shape has -1, and sizes are whole numbers from 0 on"),
            (r#"{"shape": [1.5], "data": [1]}"#, "the shape has 1.5, and sizes are whole numbers from 0 on"),
            (r#"{"shape": 2, "data": [1, 2]}"#, "integer `2`, expected a list of sizes, whole numbers from 0 on"),
            (r#"{"shape": [1, 1, 1, 1, 1, 1, 1, 1, 1], "data": [1]}"#, "a shape of more than 8 dimensions"),
            (r#"{"shape": [2]}"#, "`shape` and `data` belong together"),
            (r#"{"shape": [], "data": [1]}"#, "a shape of 0 dimensions"),
            (r#"{"image": [2]}"#, "`image` is neither `shape` nor `data`"),
            ("[[[[[[[[[1]]]]]]]]]", "more than 8 lists in each other"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(what), "{text}: {message}");
        }
    }
}
