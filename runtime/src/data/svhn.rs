//! SVHN, cropped digits: `train_32x32.mat`, `test_32x32.mat` and, if asked for, `extra_32x32.mat`.

use super::mat::{self, Values};
use super::reading::Reading;
use super::together::Broken;
use super::{Dataset, Images, Pixels, Sets, files};
use crate::{Error, Result};
use std::path::Path;

const SIDE: usize = 32;

/// Reads `train_32x32.mat` and `test_32x32.mat`, with `extra` also `extra_32x32.mat`.
pub fn load(path: &Path, extra: bool) -> Result<Sets> {
    files::exists(path)?;
    let mut broken = Broken::default();
    let mut one = |name| broken.keep(part(path, name));
    let (train, more, test) = (one("train"), extra.then(|| one("extra")), one("test"));
    let ((mut pixels, mut labels), (test_pixels, test_labels)) = broken.end(train.zip(test))?;
    if let Some((more, others)) = more.flatten() {
        pixels.extend(more);
        labels.extend(others);
    }
    let dataset =
        |pixels, labels| Dataset::new(Images { dims: [3, SIDE, SIDE], pixels: Pixels::Bytes(pixels) }, labels);
    Ok(Sets {
        train: dataset(pixels, labels),
        valid: None,
        test: dataset(test_pixels, test_labels),
        names: vec![],
        reading: Reading::default(),
    })
}

/// Does a folder hold the test part?
pub(super) fn is_at(path: &Path) -> bool {
    files::find(path, &["test_32x32.mat"]).is_some()
}

fn part(folder: &Path, name: &str) -> Result<(Vec<u8>, Vec<u32>)> {
    let path = files::find(folder, &[&format!("{name}_32x32.mat")]).ok_or_else(|| {
        Error::new(format!("{} holds no {name}_32x32.mat", folder.display()))
            .with_help("SVHN's cropped digits come as train_32x32.mat, test_32x32.mat and extra_32x32.mat")
    })?;
    let (mut x, mut y) = (None, None);
    for matrix in mat::read(&path)? {
        match (matrix.name.as_str(), matrix.values) {
            ("X", Values::Bytes(bytes)) => x = Some((matrix.dims, bytes)),
            ("y", Values::Bytes(bytes)) => y = Some(bytes.into_iter().map(f64::from).collect()),
            ("y", Values::Doubles(doubles)) => y = Some(doubles),
            _ => {}
        }
    }
    let (Some((dims, x)), Some(y)) = (x, y) else {
        return Err(Error::new(format!("{} lacks the arrays X and y", path.display())));
    };
    let count = match dims.as_slice() {
        &[SIDE, SIDE, 3, count] if count == y.len() && count > 0 => count,
        _ => {
            return Err(Error::new(format!("X in {} has the size {dims:?} for {} labels", path.display(), y.len()))
                .with_help("expected [32, 32, 3, N] and N labels"));
        }
    };
    let mut labels = Vec::with_capacity(count);
    for label in y {
        // The digit 0 has the label 10.
        match label {
            10.0 => labels.push(0),
            l if (0.0..10.0).contains(&l) && l.fract() == 0.0 => labels.push(l as u32),
            l => return Err(Error::new(format!("{} has the label {l}", path.display()))),
        }
    }
    Ok((turn(&x), labels))
}

/// Reorders column-major [row, column, channel, image] to [image][channel][row][column].
fn turn(x: &[u8]) -> Vec<u8> {
    let mut turned = vec![0; x.len()];
    for (from, to) in x.chunks_exact(SIDE * SIDE).zip(turned.chunks_exact_mut(SIDE * SIDE)) {
        for row in 0..SIDE {
            for column in 0..SIDE {
                to[row * SIDE + column] = from[column * SIDE + row];
            }
        }
    }
    turned
}
