//! Enlarging and shrinking: each axis is a linear map with fixed factors.

use super::super::axes::in_turn;
use super::super::read::Node;
use super::movement::Rows;
use super::{Map, Mapped};

/// How coordinates and values between cells are found.
struct Way {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f32,
    exclude: bool,
    antialias: bool,
}

impl Map<'_> {
    /// Translates Resize and its forerunners.
    pub(super) fn resize(&mut self, node: &Node) -> Mapped {
        let mut x = self.view(node, 0)?;
        let rank = x.shape.len();
        let axes = match node.ints("axes") {
            Some(axes) => in_turn(axes, rank)?,
            None => (0..rank).collect(),
        };
        let old = self.net.opset < 11;
        let text = |name: &str, default: &str| node.text(name).unwrap_or_else(|| default.into());
        let way = Way {
            mode: text("mode", "nearest"),
            coordinates: text("coordinate_transformation_mode", if old { "asymmetric" } else { "half_pixel" }),
            nearest: text("nearest_mode", if old { "floor" } else { "round_prefer_floor" }),
            cubic: node.float("cubic_coeff_a").unwrap_or(-0.75),
            exclude: node.int("exclude_outside").unwrap_or(0) != 0,
            antialias: node.int("antialias").unwrap_or(0) != 0,
        };
        if text("keep_aspect_ratio_policy", "stretch") != "stretch" {
            return Err("it keeps the aspect ratio".into());
        }
        let list = |at: usize| -> Mapped<_> { Ok(self.constant(node, at)?.filter(|list| !list.is_empty())) };
        let scales = match node.floats("scales") {
            Some(scales) => Some(scales.to_vec()),
            None => list(if old { 1 } else { 2 })?.map(|list| list.as_floats()),
        };
        let sizes = if old { None } else { list(3)? };
        let count = scales.as_ref().map(Vec::len).or(sizes.as_ref().map(|list| list.len())).unwrap_or(0);
        if count != axes.len() {
            return Err(format!("it has {count} scales for {} dimensions", axes.len()).into());
        }
        for (i, &axis) in axes.iter().enumerate() {
            let size = x.shape[axis];
            if axis > 0 && size > 1 << 16 {
                return Err(format!("it changes an axis of {size}").into());
            }
            let (scale, wanted) = match (&scales, &sizes) {
                (Some(scales), _) => {
                    let scale = f64::from(scales[i]);
                    (scale, (size as f64 * scale).floor() as usize)
                }
                (_, Some(sizes)) => {
                    let wanted = sizes.as_ints().ok_or("its sizes are no whole numbers")?[i].clamp(0, 1 << 20) as usize;
                    (wanted as f64 / size as f64, wanted)
                }
                _ => return Err("neither scales nor sizes are given".into()),
            };
            if axis == 0 && wanted == size {
                continue;
            }
            if axis == 0 {
                return Err("it changes the number of images".into());
            }
            // Of an axis that stays, engines take each cell as it is, whatever the coordinates say.
            if wanted == size && scale == 1.0 {
                continue;
            }
            if wanted == 0 || wanted > 1 << 16 || !scale.is_finite() {
                return Err(format!("it makes {wanted} of {size}").into());
            }
            if way.coordinates == "align_corners" && scales.is_some() && (size as f64 * scale).fract() != 0.0 {
                return Err("its corners lie between pixels, where engines disagree".into());
            }
            let rows = rows(&way, size, wanted, scale)?;
            let same = wanted == size && rows.iter().enumerate().all(|(i, row)| *row == [(i, 1.0)]);
            x = if same { x } else { self.along(&x, axis, &rows)? };
        }
        Ok(x)
    }
}

/// The factors of each result of an axis. Coordinates are computed in single precision as engines do, which decides
/// where one lies in the middle of two cells.
fn rows(way: &Way, size: usize, wanted: usize, scale: f64) -> Result<Rows, String> {
    let (size_f, wanted_f, scale_f) = (size as f32, wanted as f32, scale as f32);
    let source = |i: f32| {
        let half = (i + 0.5) / scale_f;
        Ok(match way.coordinates.as_str() {
            "half_pixel" => half - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = wanted_f / (size_f * scale_f);
                size_f / 2.0 * (1.0 - adjustment) + half - 0.5
            }
            "pytorch_half_pixel" if wanted > 1 => half - 0.5,
            "align_corners" if wanted > 1 => i * (size_f - 1.0) / (wanted_f - 1.0),
            "align_corners" | "pytorch_half_pixel" => 0.0,
            "asymmetric" => i / scale_f,
            "tf_half_pixel_for_nn" => half,
            other => return Err(format!("its coordinates are `{other}`")),
        })
    };
    (0..wanted).map(|i| row(way, size, f64::from(source(i as f32)?), scale)).collect()
}

fn row(way: &Way, size: usize, at: f64, scale: f64) -> Result<Vec<(usize, f32)>, String> {
    let last = size as i64 - 1;
    let (reach, kernel): (f64, Box<dyn Fn(f64) -> f64>) = match way.mode.as_str() {
        "nearest" => {
            let near = match way.nearest.as_str() {
                "round_prefer_floor" => (at - 0.5).ceil(),
                "round_prefer_ceil" => (at + 0.5).floor(),
                "floor" => at.floor(),
                "ceil" => at.ceil(),
                other => return Err(format!("its nearest_mode is `{other}`")),
            };
            return Ok(vec![((near as i64).clamp(0, last) as usize, 1.0)]);
        }
        "linear" => (1.0, Box::new(|d: f64| (1.0 - d.abs()).max(0.0))),
        "cubic" => (2.0, Box::new(|d: f64| cubic(d.abs(), f64::from(way.cubic)))),
        other => return Err(format!("its mode is `{other}`")),
    };
    // Antialiasing widens the window where the axis shrinks.
    let stretch = if way.antialias { scale.min(1.0) } else { 1.0 };
    let first = (at - reach / stretch).floor() as i64;
    let end = (at + reach / stretch).ceil() as i64;
    let mut row: Vec<(usize, f64)> = Vec::new();
    for cell in first..=end {
        let factor = kernel((cell as f64 - at) * stretch);
        if factor != 0.0 && (!way.exclude || (0..=last).contains(&cell)) {
            row.push((cell.clamp(0, last) as usize, factor));
        }
    }
    let sum: f64 = row.iter().map(|(_, factor)| factor).sum();
    let whole = if way.exclude || way.antialias { sum } else { 1.0 };
    Ok(row.into_iter().map(|(cell, factor)| (cell, (factor / whole) as f32)).collect())
}

/// Keys' kernel of cubic interpolation.
fn cubic(d: f64, a: f64) -> f64 {
    match d {
        d if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
        _ => 0.0,
    }
}
