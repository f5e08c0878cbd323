//! Test-time augmentation: a picture is looked at in several views, and the answers' logarithms are averaged.

use super::evaluate::Scores;
use crate::data::Values;
use crate::data::augment::{mirror, window};
use crate::{Engine, Feed, Result};

/// Which views of a picture are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// Each view mirrored too.
    pub flip: bool,
    /// The picture moved by a pixel, down and right, and up and left, too; the two weigh as much as the picture itself.
    pub shift: bool,
}

/// A way to look at a picture.
pub struct View {
    mirrored: bool,
    /// Pixels down and right; what comes in is the picture mirrored at its border.
    by: isize,
    /// Its share in a mean over all views.
    pub weight: f64,
}

/// The mean of several views' answers on the same images.
pub struct Mean {
    scores: Scores,
    sums: Vec<f64>,
}

impl Views {
    /// Returns the number of views.
    pub fn count(self) -> usize {
        self.all().len()
    }

    /// Returns the views, the picture as it is first.
    pub fn all(self) -> Vec<View> {
        let moved: &[(isize, f64)] = if self.shift { &[(0, 0.5), (1, 0.25), (-1, 0.25)] } else { &[(0, 1.0)] };
        let ways: &[bool] = if self.flip { &[false, true] } else { &[false] };
        let each = moved.iter().flat_map(|&(by, weight)| ways.iter().map(move |&mirrored| (mirrored, by, weight)));
        each.map(|(mirrored, by, weight)| View { mirrored, by, weight: weight / ways.len() as f64 }).collect()
    }

    /// Runs a batch of images of `dims` through the program's `input` to its `output`, one number a class: the mean of
    /// all views' logarithms of probabilities, in the form of `scores`. Of logits that is their mean.
    pub fn scores(
        self,
        engine: &mut dyn Engine,
        (input, output): (&str, &str),
        (images, dims): (Feed, [usize; 3]),
        scores: Scores,
    ) -> Result<Vec<f32>> {
        let count = images.len() / dims.iter().product::<usize>().max(1);
        let mut mean = Mean::new(scores);
        let views = self.all();
        for view in &views {
            let seen = view.of(images, dims);
            let feed = seen.as_ref().map_or(images, Values::feed);
            let data = engine.run(count, &[(input, feed)], &[output])?.swap_remove(0).data;
            if views.len() == 1 {
                return Ok(data);
            }
            mean.add(view, &data);
        }
        Ok(mean.finish(count))
    }
}

impl Mean {
    /// Begins a mean of answers of this form.
    pub fn new(scores: Scores) -> Mean {
        Mean { scores, sums: vec![] }
    }

    /// Adds what the network said of one view of all images, one number a class.
    pub fn add(&mut self, view: &View, answers: &[f32]) {
        self.sums.resize(answers.len(), 0.0);
        let sums = self.sums.iter_mut().zip(answers);
        sums.for_each(|(sum, &v)| *sum += view.weight * logarithm(self.scores, v));
    }

    /// Returns the mean over the views of that many images, in the form of the network's result.
    pub fn finish(mut self, images: usize) -> Vec<f32> {
        let classes = (self.sums.len() / images.max(1)).max(1);
        self.sums.chunks_exact_mut(classes).for_each(|sums| finish(self.scores, sums));
        self.sums.into_iter().map(|v| v as f32).collect()
    }
}

/// Returns a score as a logarithm, up to a constant of all classes.
fn logarithm(scores: Scores, score: f32) -> f64 {
    match scores {
        // A probability that was rounded to 0 would outweigh all other views.
        Scores::Probabilities if score < f32::MIN_POSITIVE => f64::from(f32::MIN_POSITIVE).ln(),
        Scores::Probabilities => f64::from(score).ln(),
        Scores::Logits | Scores::LogProbabilities => f64::from(score),
    }
}

/// Brings mean logarithms of a picture's classes into the form of the network's result.
fn finish(scores: Scores, means: &mut [f64]) {
    let most = means.iter().fold(f64::NEG_INFINITY, |most, &v| most.max(v));
    let sum = most + means.iter().map(|v| (v - most).exp()).sum::<f64>().ln();
    match scores {
        Scores::Logits => {}
        Scores::LogProbabilities => means.iter_mut().for_each(|v| *v -= sum),
        Scores::Probabilities => means.iter_mut().for_each(|v| *v = (*v - sum).exp()),
    }
}

impl View {
    /// Returns the images as they are seen; `None` where that is as they are.
    pub fn of(&self, images: Feed, dims: [usize; 3]) -> Option<Values> {
        if (self.mirrored, self.by) == (false, 0) {
            return None;
        }
        match images {
            Feed::U8(bytes) => Some(Values::Bytes(self.changed(bytes, dims))),
            Feed::F32(floats) => Some(Values::Floats(self.changed(floats, dims))),
            Feed::I32(_) => None,
        }
    }

    /// Returns a map that was found in this view, its rows of `columns` numbers, as one of the pictures of `height` and
    /// `width` pixels as they are: mirrored and moved back, between the middles of its cells where a pixel is less than
    /// one. What the view does not show is as at its border.
    pub fn undone(&self, map: &[f32], columns: usize, [height, width]: [usize; 2]) -> Vec<f32> {
        let mut map = map.to_vec();
        if self.mirrored {
            mirror(columns.max(1), &mut map);
        }
        if self.by == 0 {
            return map;
        }
        let rows = map.len() / columns.max(1);
        let place = |cell: usize, cells: usize, pixels: usize| {
            let moved = self.by as f64 * cells as f64 / pixels as f64;
            let at = (cell as f64 + moved).clamp(0.0, cells.saturating_sub(1) as f64);
            let low = at as usize;
            (low, (low + 1).min(cells - 1), at - low as f64)
        };
        let cell = |at: usize| {
            let (top, bottom, down) = place(at / columns, rows, height);
            let (left, right, along) = place(at % columns, columns, width);
            let value = |y: usize, x: usize| f64::from(map[y * columns + x]);
            let row = |y: usize| value(y, left) * (1.0 - along) + value(y, right) * along;
            (row(top) * (1.0 - down) + row(bottom) * down) as f32
        };
        (0..map.len()).map(cell).collect()
    }

    fn changed<T: Copy>(&self, images: &[T], dims: [usize; 3]) -> Vec<T> {
        let mut changed = images.to_vec();
        for image in changed.chunks_exact_mut(dims.iter().product::<usize>().max(1)) {
            if self.by != 0 {
                window(dims, image, self.by, self.by);
            }
            if self.mirrored {
                mirror(dims[2], image);
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_numpys() {
        // numpy.pad(numpy.arange(6).reshape(2, 3), 1, "reflect"), its windows [0:2, 0:3] and [2:4, 2:5], and mirrored.
        let views = Views { flip: true, shift: true };
        let image: Vec<u8> = (0..6).collect();
        let seen = views.all().iter().map(|view| (view.changed(&image, [1, 2, 3]), view.weight)).collect::<Vec<_>>();
        let right: [([u8; 6], f64); 6] = [
            ([0, 1, 2, 3, 4, 5], 0.25),
            ([2, 1, 0, 5, 4, 3], 0.25),
            ([4, 3, 4, 1, 0, 1], 0.125),
            ([4, 3, 4, 1, 0, 1], 0.125),
            ([4, 5, 4, 1, 2, 1], 0.125),
            ([4, 5, 4, 1, 2, 1], 0.125),
        ];
        assert_eq!(
            seen.iter().map(|(image, weight)| (&image[..], *weight)).collect::<Vec<_>>(),
            right.iter().map(|(image, weight)| (&image[..], *weight)).collect::<Vec<_>>()
        );
        // A map of a number a pixel shows each where the picture has it; what was cut off is as its neighbour.
        let seen = |view: usize| {
            let view = &Views { flip: true, shift: true }.all()[view];
            let map: Vec<f32> = view.changed(&image, [1, 2, 3]).into_iter().map(f32::from).collect();
            view.undone(&map, 3, [2, 3])
        };
        let plain = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let (down, up) = ([0.0, 1.0, 1.0, 0.0, 1.0, 1.0], [4.0, 4.0, 5.0, 4.0, 4.0, 5.0]);
        assert_eq!([0, 1, 2, 3, 4, 5].map(seen), [plain, plain, down, down, up, up].map(|map| map.to_vec()));
        // Two cells of four pixels: a pixel is half a cell.
        let moved = View { mirrored: false, by: 1, weight: 1.0 };
        assert_eq!(moved.undone(&[0.0, 8.0, 0.0, 8.0], 2, [4, 4]), [4.0, 8.0, 4.0, 8.0]);
        assert_eq!([Views::default().count(), Views { flip: true, shift: false }.count()], [1, 2]);
    }
}
