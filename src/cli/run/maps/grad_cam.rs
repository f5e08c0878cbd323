//! Grad-CAM (Selvaraju et al., 2017): channels of a value, weighted by the means of the gradient of the class's score
//! with respect to them; what is below 0 speaks for other classes.

use super::{BATCH, Done, Feed, Maps, Run, usage};
use ninc::pipeline::{GRADIENT, VALUE};
use ninc::prepare;
use ninc_runtime::plan::Role;
use ninc_runtime::train::step_inputs;

/// Maps of the best classes of each image, at the size of the value `name`.
pub fn maps(run: &Run, name: &str, best: &[Vec<usize>], label: &dyn Fn(usize, usize) -> String) -> Done<Vec<Maps>> {
    if run.weights.formats.is_some() {
        return Err(usage(
            "--maps-by grad-cam needs gradients, and quantised weights have none",
            "take the float weights",
        ));
    }
    let (images, _) = run.images;
    let form = run.preparation.map(|p| (p.form(), images.values.feed().dtype()));
    let mut program = run.global.score_gradient(run.model, name, form)?;
    // The network's own program has checked them; this one lacks what no gradient depends on.
    run.weights.load_into(&mut *program.engine)?;
    run.preparation.map_or(Ok(()), |fitted| prepare::write(&mut *program.engine, fitted))?;
    let engine = &mut *program.engine;
    let image = step_inputs::image(engine.inputs())?.name.clone();
    let labels = engine.inputs().iter().find(|port| port.role == Role::Labels).map(|port| port.name.clone());
    let labels = labels.unwrap_or_default();
    let mut all: Vec<Maps> = best.iter().map(|_| Maps { size: [0, 0], maps: vec![] }).collect();
    let ranks = best.iter().map(Vec::len).min().unwrap_or(0);
    for rank in 0..ranks {
        let classes: Vec<i32> = best.iter().map(|best| best[rank] as i32).collect();
        let feeds = images.feeds(BATCH).into_iter().zip(classes.chunks(BATCH));
        for ((feed, classes), first) in feeds.zip((0..).step_by(BATCH)) {
            let inputs = [(image.as_str(), feed), (labels.as_str(), Feed::I32(classes))];
            let results = engine.run(classes.len(), &inputs, &[VALUE, GRADIENT])?;
            let [value, gradient] = &results[..] else { continue };
            let (size, channels) = ([value.dims[2], value.dims[3]], value.dims[1]);
            let image_size = channels * size[0] * size[1];
            let pairs = value.data.chunks_exact(image_size).zip(gradient.data.chunks_exact(image_size));
            for ((value, gradient), i) in pairs.zip(first..) {
                all[i].size = size;
                all[i].maps.push((label(i, best[i][rank]), weighted(value, gradient, size[0] * size[1])));
            }
        }
    }
    Ok(all)
}

/// The sum of the planes, each times the mean of its gradient, cut off below 0.
fn weighted(value: &[f32], gradient: &[f32], plane: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; plane];
    for (value, gradient) in value.chunks_exact(plane).zip(gradient.chunks_exact(plane)) {
        let weight = gradient.iter().copied().map(f64::from).sum::<f64>() / plane as f64;
        sums.iter_mut().zip(value).for_each(|(sum, &v)| *sum += weight * f64::from(v));
    }
    sums.into_iter().map(|sum| sum.max(0.0) as f32).collect()
}
