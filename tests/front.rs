//! The front end on whole files: models, diagnostics, mutations, the reference's examples.

use ninc::front;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files with this ending in a folder, in order, with their texts.
fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn models_are_right() {
    let models = files("models", "nin");
    assert!(models.len() >= 9, "only {} models", models.len());
    for (path, text) in models {
        let (model, diagnostics) = front::load(&text, &name(&path), &[]);
        assert!(diagnostics.is_empty(), "\n{}", front::diag::render(&diagnostics, &text, &name(&path), false));
        let model = model.unwrap();
        assert!(model.data.is_some() && model.train.is_some(), "{}", name(&path));
    }
}
