//! Random networks, compiled, against the interpreter: results at inference; loss, gradients and all that a step of
//! training changes.

use crate::nets::{self, Values};
use ninc::graph::engine::Interpreter;
use ninc::pipeline::{self, Device, Options};

#[test]
fn compiled_inference_agrees_with_the_interpreter() {
    for seed in 1000..1200 {
        let (values, batch) = (Values::new(seed), 1 + seed as usize % 3);
        let graph = nets::random(seed);
        // The network as it was written is the reference: all passes and the whole back end are on the other side.
        let expected = nets::run_engine(&mut Interpreter::new(graph.clone()), &values, batch);
        let program = pipeline::inference(&nets::model(graph), &Options { threads: 2, ..Options::default() });
        let mut program = program.unwrap_or_else(|e| panic!("network {seed}: {e}"));
        let found = nets::run_engine(program.engine.as_mut(), &values, batch);
        nets::assert_close(&format!("network {seed}"), &expected, &found, 5e-5);
    }
}

/// Velocities after one step are the gradients.
#[test]
fn compiled_training_agrees_with_the_interpreter() {
    let mut compared = 0;
    for seed in 2000..2100 {
        let (values, batch) = (Values::new(seed), 1 + seed as usize % 3);
        let mut model = nets::model(nets::random(seed));
        model.train = Some(nets::recipe(seed as usize));
        let compile = |device| pipeline::training(&model, &Options { device, threads: 2, ..Options::default() });
        let mut interpreter = match compile(Device::Interp) {
            Ok(program) => program,
            Err(e) => {
                assert!(e.message.contains("nothing to train"), "network {seed}: {e}");
                continue;
            }
        };
        let mut compiled = compile(Device::Cpu).unwrap_or_else(|e| panic!("network {seed}: {e}"));
        let expected = nets::run_engine(interpreter.engine.as_mut(), &values, batch);
        let found = nets::run_engine(compiled.engine.as_mut(), &values, batch);
        nets::assert_close(&format!("network {seed}"), &expected, &found, 2e-4);
        compared += 1;
    }
    assert!(compared > 90, "only {compared} networks could be trained");
}

/// A step of training, dropout and all, and a batch at inference, which threads share by groups of images.
#[test]
fn threads_do_not_change_a_bit() {
    let mut trained = 0;
    for seed in 3000..3012 {
        let mut model = nets::model(nets::random(seed));
        model.train = Some(nets::recipe(1));
        let compiled = |training: bool, threads| {
            let options = Options { threads, ..Options::default() };
            if training { pipeline::training(&model, &options) } else { pipeline::inference(&model, &options) }
        };
        let run = |training, threads| {
            let mut program = compiled(training, threads).ok()?;
            Some(nets::run_engine(program.engine.as_mut(), &Values::new(seed), 37))
        };
        for training in [true, false] {
            let one = run(training, 1);
            for threads in [2, 3, 7] {
                assert_eq!(bits(&run(training, threads)), bits(&one), "network {seed}, {threads} threads, {training}");
            }
            trained += usize::from(one.is_some() && training);
        }
    }
    assert!(trained > 6, "only {trained} networks could be trained");
}

fn bits(results: &Option<Vec<(String, Vec<f32>)>>) -> Vec<(String, Vec<u32>)> {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect();
    results.iter().flatten().map(|(name, values)| (name.clone(), bits(values))).collect()
}
