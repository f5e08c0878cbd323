//! What the network gives for pictures in one view or, with `--tta`, in several.

use super::compute;
use super::inputs::Images;
use crate::cli::output::{self, Done, usage};
use crate::cli::tta::TtaArgs;
use ninc_runtime::train::Scores;
use ninc_runtime::train::views::{Mean, View};
use ninc_runtime::{Engine, Tensor};

/// What is looked at, and what is wanted of it.
pub struct Looked<'a> {
    /// The images, and what each consists of: channels, height, width.
    pub images: (&'a Images, [usize; 3]),
    /// The program's outputs that are wanted, the network's result first.
    pub names: &'a [&'a str],
    /// What the result is, if it is one number a class.
    pub scores: Option<Scores>,
    /// Are maps made of the last of the outputs?
    pub value: bool,
}

/// What the network gives for one view of all images.
pub struct Look {
    /// The view.
    pub view: View,
    /// The network's result.
    pub result: Tensor,
    /// The value that maps are made of.
    pub value: Option<Tensor>,
}

impl Looked<'_> {
    /// Runs the program: the outputs for the images as they are, the result of all views in the place of the first, and
    /// what each view gave. The value of maps is among the latter alone.
    pub fn at(&self, tta: &TtaArgs, engine: &mut dyn Engine) -> Done<(Vec<Tensor>, Vec<Look>)> {
        let (images, dims) = self.images;
        let views = tta.views(dims)?;
        let text = TtaArgs::text(views);
        let mean = match (&text, self.scores) {
            (None, _) => None,
            (Some(_), Some(scores)) => Some(Mean::new(scores)),
            (Some(_), None) => {
                let message = "--tta is for networks whose result is one number a class";
                return Err(usage(message, "leave it out, or run each view by itself"));
            }
        };
        text.iter().for_each(|text| {
            output::note(&format!("note: each answer is the mean of views of the picture: {text}"));
        });
        let mut results = compute(engine, images, self.names)?;
        let mut looks = Vec::new();
        for view in views.all() {
            let (result, value) = match images.view(&view, dims) {
                None => (results[0].clone(), self.value.then(|| results.pop()).flatten()),
                Some(images) => {
                    let value = self.names.last().copied().filter(|_| self.value);
                    let names: Vec<&str> = [self.names[0]].into_iter().chain(value).collect();
                    let mut results = compute(engine, &images, &names)?;
                    let value = self.value.then(|| results.pop()).flatten();
                    (results.swap_remove(0), value)
                }
            };
            looks.push(Look { view, result, value });
        }
        if let Some(mut mean) = mean {
            looks.iter().for_each(|look| mean.add(&look.view, &look.result.data));
            results[0].data = mean.finish(results[0].dims[0]);
        }
        Ok((results, looks))
    }
}
