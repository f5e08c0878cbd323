//! `--precision bf16` on a device: numbers lie in its memory as bf16, and are rounded where the interpreter rounds them.

use super::{options, present};
use crate::bf16::{follow, meaning, network};
use crate::nets::{self, Values};
use ninc::kernel::target::{Algorithm, Fusion, GroupTile, Target};
use ninc::passes::Precision;
use ninc::pipeline::{self, Options};
use std::sync::Arc;

/// 32 items that multiply together, direct products one by one, chains in one kernel, and what the model of costs would take.
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
    let Some(_alone) = present() else { return };
    let model = network();
    let expected = meaning(&model);
    for (what, target, exact) in targets() {
        let options = Options { precision: Precision::Bf16, target: Some(target), ..options() };
        follow(what, &model, &options, &expected, exact);
    }
}

/// The kernels read and write halves of float32, and a training step's gradients too.
#[test]
fn a_training_step_agrees_with_the_processor() {
    let Some(_alone) = present() else { return };
    let mut model = network();
    model.train = Some(nets::recipe(1));
    let bf16 = |options: Options| Options { precision: Precision::Bf16, ..options };
    let values = Values::new(7);
    let run = |options: &Options| {
        let mut train = pipeline::training(&model, options).expect("a program");
        nets::run_engine(train.engine.as_mut(), &values, 3)
    };
    let expected = run(&bf16(Options { threads: 2, ..Options::default() }));
    for (what, target, _) in targets() {
        let found = run(&bf16(Options { target: Some(target), ..options() }));
        // Here and there a sum is rounded to the other neighbour, which is up to 1/256 away.
        nets::assert_close(what, &expected, &found, 1e-2);
    }
}
