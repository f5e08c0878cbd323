//! Trainings that a test runs within its own process.

use ninc::model::Model;
use ninc::pipeline::{self, Options, ParamInfo};
use ninc::types::DType;
use ninc_runtime::Engine;
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::data;
use ninc_runtime::data::prepare::Preparation;
use ninc_runtime::data::preparer::Preparer;
use ninc_runtime::store::Disk;
use ninc_runtime::train::job::{Progress, checkpoint_path};
use ninc_runtime::train::log::Line;
use ninc_runtime::train::{Job, Saving, Scores, Start, Watch};
use std::path::Path;
use std::sync::Arc;

/// A program for a preparation, on one thread.
pub fn compile(preparation: &Preparation, dtype: DType) -> ninc_runtime::Result<Box<dyn Engine + Send>> {
    Ok(pipeline::preparation(preparation, dtype, &Options::default())?.engine)
}

/// A training of the network `tiny` (images of 1x8x8) in this folder, which resumes if there is a checkpoint.
pub fn job<'d>(model: &Model, params: &[ParamInfo], folder: &Path, disk: &'d dyn Disk) -> Job<'d> {
    let spec = model.data.clone().expect("data");
    let sets = data::load(&spec, None, &[1, 8, 8]).expect("embedded");
    let saved = checkpoint_path(folder, "tiny");
    let start = match saved.is_file() {
        true => Start::Resume(Box::new(Checkpoint::read(&saved).expect("whole")), saved),
        false => Start::Fresh,
    };
    let preparation = Preparation::fit(&spec.prepare, &sets.train, &compile).expect("fits");
    Job {
        name: "tiny".into(),
        recipe: model.train.clone().expect("a recipe"),
        preparer: Arc::new(Preparer::new(&preparation, sets.train.images.dtype(), &compile).expect("compiles")),
        preparation: Arc::new(preparation),
        sets,
        augment: spec.augment,
        parameters: params.iter().map(ParamInfo::parameter).collect(),
        output: model.graph.outputs[0].0.clone(),
        scores: Scores::Probabilities,
        network: "n".into(),
        version: "1".into(),
        compiled_for: None,
        folder: folder.into(),
        start,
        saving: Saving::default(),
        replaces: vec![],
        test_every: None,
        log_steps: false,
        disk,
        ranks: None,
        finder: None,
    }
}

/// Watches a training that has nothing to note.
pub struct Silent;

impl Watch for Silent {
    fn step(&mut self, _: &Progress) {}
    fn epoch(&mut self, _: &Line) {}
    fn note(&mut self, text: &str) {
        panic!("{text}");
    }
}
