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
struct View {
    mirrored: bool,
    /// Pixels down and right; what comes in is the picture mirrored at its border.
    by: isize,
    weight: f64,
}

impl Views {
    /// Returns the number of views.
    pub fn count(self) -> usize {
        self.all().len()
    }

    /// Returns the views, the picture as it is first.
    fn all(self) -> Vec<View> {
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
        let mut sums: Vec<f64> = Vec::new();
        let views = self.all();
        for view in &views {
            let seen = view.of(images, dims);
            let feed = seen.as_ref().map_or(images, Values::feed);
            let data = engine.run(count, &[(input, feed)], &[output])?.swap_remove(0).data;
            if views.len() == 1 {
                return Ok(data);
            }
            sums.resize(data.len(), 0.0);
            sums.iter_mut().zip(&data).for_each(|(sum, &v)| *sum += view.weight * logarithm(scores, v));
        }
        let classes = (sums.len() / count.max(1)).max(1);
        sums.chunks_exact_mut(classes).for_each(|sums| finish(scores, sums));
        Ok(sums.into_iter().map(|v| v as f32).collect())
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
    fn of(&self, images: Feed, dims: [usize; 3]) -> Option<Values> {
        if (self.mirrored, self.by) == (false, 0) {
            return None;
        }
        match images {
            Feed::U8(bytes) => Some(Values::Bytes(self.changed(bytes, dims))),
            Feed::F32(floats) => Some(Values::Floats(self.changed(floats, dims))),
            Feed::I32(_) => None,
        }
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
        assert_eq!([Views::default().count(), Views { flip: true, shift: false }.count()], [1, 2]);
    }
}
