//! How far values differ.

use crate::cli::output::{self, Done};
use ninc_runtime::{Error, Tensor};
use serde_json::json;

/// How far one value differs.
pub struct Row {
    /// Its name.
    pub name: String,
    /// Largest absolute difference.
    pub difference: f64,
    /// It, as a part of the value's largest number.
    pub part: f64,
    /// Is it more than rounding?
    pub differs: bool,
}

/// Sizes that are not 1.
pub fn without_ones(dims: &[usize]) -> Vec<usize> {
    dims.iter().copied().filter(|&size| size != 1).collect()
}

/// Compares values of these names. They have the same shape, dimensions of 1 apart, or without `strict` the same number
/// of elements.
pub fn compare(
    sides: &[String; 2],
    names: &[String],
    (a, b): (&[Tensor], &[Tensor]),
    strict: bool,
    tolerance: f64,
) -> Done<Vec<Row>> {
    let row = |((name, a), b): ((&String, &Tensor), &Tensor)| {
        if a.data.len() != b.data.len() || (strict && without_ones(&a.dims) != without_ones(&b.dims)) {
            let message =
                format!("`{name}` has the shape {:?} in {}, but {:?} in {}", a.dims, sides[0], b.dims, sides[1]);
            return Err(Error::new(message).with_help("only values of one shape are compared").into());
        }
        let (mut difference, mut largest) = (0.0f64, 0.0f64);
        for (&x, &y) in a.data.iter().zip(&b.data) {
            // Equal infinities do not differ; NaN on one side only does.
            let apart = if x == y || (x.is_nan() && y.is_nan()) { 0.0 } else { f64::from(x) - f64::from(y) };
            difference = if apart.is_nan() { f64::INFINITY } else { difference.max(apart.abs()) };
            largest = largest.max(if x.is_finite() { f64::from(x.abs()) } else { 0.0 });
        }
        let part = if difference == 0.0 { 0.0 } else { difference / largest.max(f64::from(f32::MIN_POSITIVE)) };
        Ok(Row { name: name.clone(), difference, part, differs: part > tolerance })
    };
    names.iter().zip(a).zip(b).map(row).collect()
}

/// Prints all rows; `of` says what gradients among them are of.
pub fn show(as_json: bool, rows: &[Row], names: &[String; 2], tolerance: f64, of: Option<&str>) -> Done {
    let first = rows.iter().find(|row| row.differs).map(|row| &row.name);
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|r| json!({ "value": r.name, "difference": r.difference, "part": r.part, "differs": r.differs }))
            .collect();
        let agree = first.is_none();
        let mut all = json!({ "sides": names, "values": rows, "agree": agree, "first": first });
        if let Some(of) = of {
            all["gradients_of"] = of.into();
        }
        return output::json(&all);
    }
    let heading = ["value", "largest difference", "of the largest number", ""].map(String::from).to_vec();
    let mut table = vec![heading];
    for row in rows {
        let mark = if row.differs { "differs" } else { "" };
        table.push(vec![row.name.clone(), format!("{:.2e}", row.difference), format!("{:.2e}", row.part), mark.into()]);
    }
    output::print(&output::table(&table))?;
    if let Some(of) = of {
        output::line(&format!("gradients are those of the {of}"))?;
    }
    match first {
        None => output::line(&format!("{} and {} agree within {tolerance}", names[0], names[1])),
        Some(_) => Ok(()),
    }
}
