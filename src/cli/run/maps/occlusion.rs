//! Occlusion (Zeiler & Fergus, 2014): a window moves over the picture and covers what lies under it with the picture's
//! mean colour. A place matters as much as the class loses, on average over the windows that cover it.

use super::{BATCH, Done, Engine, Maps, Run};
use ninc_runtime::data::Values;
use ninc_runtime::train::step_inputs;

/// A window covers an eighth of the longer side, and moves by half of itself.
const PART: usize = 8;

/// Maps of the best classes of each image, at the picture's size.
pub fn maps(
    run: &Run,
    engine: &mut dyn Engine,
    probabilities: &[Vec<f64>],
    best: &[Vec<usize>],
    label: &dyn Fn(usize, usize) -> String,
) -> Done<Vec<Maps>> {
    let (images, dims @ [_, height, width]) = run.images;
    let window = height.max(width).div_ceil(PART);
    let starts = |side: usize| -> Vec<usize> {
        let last = side.saturating_sub(window);
        (0..last).step_by(window.div_ceil(2)).chain([last]).collect()
    };
    let (rows, columns) = (starts(height), starts(width));
    let places: Vec<[usize; 2]> = rows.iter().flat_map(|&y| columns.iter().map(move |&x| [y, x])).collect();
    let under = |[y, x]: [usize; 2]| {
        let rows = y..(y + window).min(height);
        rows.flat_map(move |row| (x..(x + window).min(width)).map(move |column| row * width + column))
    };
    let input = step_inputs::image(engine.inputs())?.name.clone();
    let output = run.model.graph.outputs.first().map(|(name, _)| name.clone()).unwrap_or_default();
    let size = dims.iter().product::<usize>();
    let mut all = Vec::new();
    for (i, best) in best.iter().enumerate() {
        let mut sums = vec![vec![0.0; height * width]; best.len()];
        let mut counts = vec![0u32; height * width];
        for some in places.chunks(BATCH) {
            let covered = match &images.values {
                Values::Bytes(all) => {
                    let mean = |plane: &[u8]| mean(plane).round() as u8;
                    Values::Bytes(copies(&all[i * size..][..size], [height, width], some, under, mean))
                }
                Values::Floats(all) => {
                    let mean = |plane: &[f32]| mean(plane) as f32;
                    Values::Floats(copies(&all[i * size..][..size], [height, width], some, under, mean))
                }
            };
            let results = engine.run(some.len(), &[(&input, covered.feed())], &[&output])?;
            for (&place, scored) in some.iter().zip(results[0].data.chunks_exact(run.classes.outputs())) {
                let now = run.scores.probabilities(scored);
                for at in under(place) {
                    counts[at] += 1;
                    for (sums, &class) in sums.iter_mut().zip(best) {
                        sums[at] += probabilities[i][class] - now[class];
                    }
                }
            }
        }
        let means =
            |sums: Vec<f64>| sums.iter().zip(&counts).map(|(sum, &n)| (sum / f64::from(n.max(1))) as f32).collect();
        let maps = best.iter().zip(sums).map(|(&class, sums)| (label(i, class), means(sums))).collect();
        all.push(Maps { size: [height, width], maps });
    }
    Ok(all)
}

fn mean<T: Copy + Into<f64>>(plane: &[T]) -> f64 {
    plane.iter().map(|&v| v.into()).sum::<f64>() / plane.len().max(1) as f64
}

/// One copy of the image a place, what lies under the window there replaced by the plane's mean.
fn copies<T: Copy, P: Iterator<Item = usize>>(
    image: &[T],
    [height, width]: [usize; 2],
    places: &[[usize; 2]],
    under: impl Fn([usize; 2]) -> P,
    mean: impl Fn(&[T]) -> T,
) -> Vec<T> {
    let plane = height * width;
    let means: Vec<T> = image.chunks_exact(plane).map(mean).collect();
    let mut all = image.repeat(places.len());
    for (copy, &place) in all.chunks_exact_mut(image.len()).zip(places) {
        for at in under(place) {
            means.iter().enumerate().for_each(|(c, &mean)| copy[c * plane + at] = mean);
        }
    }
    all
}
