//! Labels as people save them: a number for each image, in a row or a column, as integers or whole floats, or one-hot.

use crate::npy::Array;
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The class of each of `count` images. `name` is the array, for messages.
pub fn read(name: &str, y: &Array, count: usize) -> Result<Vec<u32>> {
    let values = y.floats();
    match y.dims[..] {
        [n] | [n, 1] if n == count => values.iter().enumerate().map(|(i, &v)| class(name, i, v)).collect(),
        [n, classes] if n == count && classes > 1 => {
            let row = |(i, row): (usize, &[f32])| one_hot(row).ok_or_else(|| not_one_hot(name, i, &y.dims));
            values.chunks_exact(classes).enumerate().map(row).collect()
        }
        _ => Err(Error::new(format!("{name} has the shape {:?}, but there are {count} images", y.dims))
            .with_help("labels are one number for each image: [N], [N, 1], or one-hot [N, classes]")),
    }
}

/// A label from its number. Floats hold every class that a network can have.
fn class(name: &str, i: usize, value: f32) -> Result<u32> {
    match value {
        v if v >= 0.0 && v.fract() == 0.0 && v < 16_777_216.0 => Ok(v as u32),
        v if v < 0.0 && v.fract() == 0.0 => Err(Error::new(format!("{name}[{i}] is {v}: labels start at 0"))
            .with_help("number the classes from 0: `numpy.unique(y, return_inverse=True)[1]`")),
        v => Err(Error::new(format!("{name}[{i}] is {v}: labels are numbers of classes, from 0 on")).with_help(
            "a network learns classes, not numbers: sort them into classes, with `numpy.digitize` for example",
        )),
    }
}

fn one_hot(row: &[f32]) -> Option<u32> {
    let only = row.iter().all(|&v| v == 0.0 || v == 1.0) && row.iter().filter(|&&v| v == 1.0).count() == 1;
    row.iter().position(|&v| v == 1.0).filter(|_| only).map(|at| at as u32)
}

fn not_one_hot(name: &str, i: usize, dims: &[usize]) -> Error {
    Error::new(format!("{name}[{i}] is not one 1 among zeros, though {name} has the shape {dims:?}"))
        .with_help("labels are one number for each image: `y.argmax(axis=1)` where they are probabilities")
}

/// What is wrong with labels that a network with `classes` outputs cannot have, as that of image `row`.
pub fn out_of_range(row: u32, part: &str, all: &[u32], classes: usize) -> Error {
    let (label, last) = (all[row as usize], classes.saturating_sub(1));
    Error::new(format!(
        "label {label} of image {row} in the {part} part is out of range: the network has {classes} classes (0 to \
         {last})"
    ))
    .with_help(numbering(all, classes))
}

/// Says how labels and the outputs of a network with `classes` of them come to fit.
pub fn numbering(all: &[u32], classes: usize) -> String {
    let (least, most) = (all.iter().min().copied().unwrap_or(0), all.iter().max().copied().unwrap_or(0));
    let known = all.iter().collect::<BTreeSet<_>>().len();
    let outputs = format!("{known} outputs (`--set classes={known}`, if that is a parameter of its text)");
    let apart = most as usize + 1 != least as usize + known;
    let numbering = match least {
        _ if apart => "number them without gaps: `numpy.unique(y, return_inverse=True)[1]`".into(),
        1.. => format!("number them from 0: `y - {least}`"),
        0 => String::new(),
    };
    let has = format!("the labels are {known} classes, from {least} to {most}");
    match (numbering.as_str(), known == classes) {
        ("", _) => format!("{has}: give the network {outputs}"),
        (numbering, true) => format!("{has}: {numbering}"),
        (numbering, false) => format!("{has}: {numbering}, and give the network {outputs}"),
    }
}
