//! Every pass keeps what the interpreter computes: on random networks and on the models that are shipped.

use crate::nets::{self, Values};
use ninc::graph::engine::Interpreter;
use ninc::graph::{Graph, text, verify};
use ninc::passes::error::PassError;
use ninc::passes::{self, Pass};
use std::fs;
use std::path::Path;

/// Images in a batch.
const BATCH: usize = 2;
/// Rounding of folded weights, relative to the largest value.
const TOLERANCE: f32 = 2e-5;

type Results = Vec<(String, Vec<f32>)>;

fn meaning(graph: &Graph, values: &Values) -> Results {
    nets::run_engine(&mut Interpreter::new(graph.clone()), values, BATCH)
}

/// Runs the passes one by one; after each the graph is valid, means the same, and the pass finds nothing more to do.
fn check(what: &str, graph: &mut Graph, passes: &[Pass], values: Option<&Values>) {
    let mut before = values.map(|v| meaning(graph, v));
    for pass in passes {
        let what = format!("{what} after {}", pass.name);
        (pass.run)(graph).unwrap_or_else(|e| panic!("{what}: {e}"));
        verify::check(graph).unwrap_or_else(|e| panic!("{what}: {e}"));
        if let (Some(values), Some(before)) = (values, &mut before) {
            let after = meaning(graph, values);
            nets::assert_close(&what, before, &after, TOLERANCE);
            *before = after;
        }
        let once = text::print(graph);
        (pass.run)(graph).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(once, text::print(graph), "{what}: a second run changes the graph");
    }
}

#[test]
fn passes_of_inference_keep_the_meaning_of_random_networks() {
    for seed in 0..200 {
        let mut graph = nets::random(seed);
        check(&format!("network {seed}"), &mut graph, passes::INFERENCE, Some(&Values::new(seed)));
    }
}

#[test]
fn passes_of_training_keep_the_meaning_of_random_networks() {
    for seed in 0..100 {
        let what = format!("network {seed}");
        let values = Values::new(seed);
        let mut graph = nets::random(seed);
        check(&what, &mut graph, passes::BEFORE_TRAINING, Some(&values));
        match passes::training::run(&mut graph, &nets::recipe(seed as usize), false) {
            Ok(()) => check(&what, &mut graph, passes::AFTER_TRAINING, Some(&values)),
            // All layers happen to be frozen.
            Err(e) => {
                assert!(matches!(&e, PassError::Network(what) if what.contains("nothing to train")), "{what}: {e}")
            }
        }
    }
}

/// Large models are checked for form only: the interpreter would take minutes.
#[test]
fn passes_keep_the_meaning_of_the_models() {
    const MOST_MULTIPLY_ADDS: u64 = 3_000_000;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut seen = 0;
    for entry in fs::read_dir(&folder).expect("the models") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "nin") {
            continue;
        }
        let source = fs::read_to_string(&path).expect("a readable model");
        let (model, diagnostics) = ninc::front::load(&source, "model", &[]);
        let mut model = model.unwrap_or_else(|| panic!("{}: {diagnostics:#?}", path.display()));
        let work = ninc::pipeline::multiply_adds(&model.graph);
        let values = (work <= MOST_MULTIPLY_ADDS).then(|| Values::new(1));
        if values.is_none() {
            eprintln!("skipped: {} needs {work} multiply-adds an image, only its form is checked", path.display());
        }
        check(&model.name, &mut model.graph.clone(), passes::INFERENCE, values.as_ref());
        if let Some(recipe) = &model.train {
            check(&model.name, &mut model.graph, passes::BEFORE_TRAINING, values.as_ref());
            passes::training::run(&mut model.graph, recipe, false)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            check(&model.name, &mut model.graph, passes::AFTER_TRAINING, values.as_ref());
        }
        seen += 1;
    }
    assert!(seen > 0, "no models in {}", folder.display());
}
