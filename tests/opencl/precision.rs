//! `--precision bf16` and `tf32` on a device: numbers are rounded where the interpreter rounds them; as bf16 they lie
//! in its memory.

use super::{options, present};
use crate::nets::{self, Values};
use crate::precision::{follow, meaning, network};
use ninc::lower::target::{Algorithm, Fusion, GroupTile, Target};
use ninc::pipeline::{self, Options};
use ninc::types::Format;
use std::sync::Arc;

/// 32 items that multiply together, direct products one by one, chains in one kernel, and what the model of costs would
/// take.
fn targets() -> Vec<(&'static str, Target, bool)> {
    let with = |algorithm, fusion| {
        let target = Target::gpu_with(GroupTile::ALL[1], Arc::default());
        Target { algorithm, ..target.with_gpu(|gpu| gpu.fusion = fusion) }
    };
    let together = with(Algorithm::Auto, Fusion::Auto).with_gpu(|gpu| gpu.tensor = true);
    vec![
        ("together", together, true),
        ("apart", with(Algorithm::Direct, Fusion::Never), true),
        ("fused", with(Algorithm::Direct, Fusion::Always), true),
        ("winograd", with(Algorithm::Winograd, Fusion::Auto), false),
    ]
}

#[test]
fn a_network_rounds_where_the_interpreter_does() {
    if !present() {
        return;
    }
    let model = network();
    for format in Format::ALL {
        let expected = meaning(&model, format);
        for (what, target, exact) in targets() {
            let options = Options { precision: Some(format), target: Some(target), ..options() };
            follow(&format!("{format:?} {what}"), &model, &options, &expected, exact);
        }
    }
}

/// The kernels read and write halves of float32, and a training step's gradients too.
#[test]
fn a_training_step_agrees_with_the_processor() {
    if !present() {
        return;
    }
    let mut model = network();
    model.train = Some(nets::recipe(1));
    let values = Values::new(7);
    let run = |options: &Options| {
        let mut train = pipeline::training(&model, options).expect("a program");
        nets::run_engine(train.engine.as_mut(), &values, 3)
    };
    // Here and there a sum is rounded to the other neighbour, which is up to 1/256 or 1/2048 away.
    for (format, tolerance) in [(Format::Bf16, 1e-2), (Format::Tf32, 1e-3)] {
        let precision = Some(format);
        let expected = run(&Options { precision, threads: 2, ..Options::default() });
        // Kernels for tf32 differ from float32's in the units that multiply.
        let count = if format == Format::Bf16 { 2 } else { 1 };
        for (what, target, _) in targets().into_iter().take(count) {
            let found = run(&Options { precision, target: Some(target), ..options() });
            nets::assert_close(&format!("{format:?} {what}"), &expected, &found, tolerance);
        }
    }
}
