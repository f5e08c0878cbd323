//! `ninc check`: all diagnostics, nothing else.

use super::model_file::{input, load_split, pictures, result, text};
use super::options::GlobalOptions;
use super::output::{self, Done, Failure};
use super::{classes, contents};
use ninc::front;
use ninc::front::diag::{has_errors, render, to_json};
use ninc::model::Model;
use ninc_runtime::classes::Classes;
use ninc_runtime::data::augment;
use ninc_runtime::data::look::Look;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Args {
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Say what would be trained on: images of each class and part, and the files that are left out
    #[arg(long, value_name = "PATH", conflicts_with = "json")]
    data: Option<PathBuf>,
    /// Decode all pictures of the data too, and name those that are broken
    #[arg(long, requires = "data")]
    check_data: bool,
    /// One list of all diagnostics on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, global: &GlobalOptions) -> Done {
    let mut bad = false;
    let mut all = Vec::new();
    for path in &args.files {
        let text = match text(path) {
            Ok(text) => text,
            Err(Failure::Error(e)) => {
                output::complain(&e, global.color_stderr());
                bad = true;
                continue;
            }
            Err(other) => return Err(other),
        };
        let file = path.display().to_string();
        let (model, diagnostics) = front::load(&text, &file, &global.set);
        bad |= has_errors(&diagnostics);
        if args.json {
            all.extend(to_json(&diagnostics, &text, &file).as_array().cloned().unwrap_or_default());
        } else if !diagnostics.is_empty() {
            output::coloured(render(&diagnostics, &text, &file, global.color_stderr()).trim_end());
        }
        if let (Some(data), Some(model)) = (&args.data, &model) {
            match say(model, (path, data), args.check_data, global) {
                Err(Failure::Error(e)) => {
                    output::complain(&e, global.color_stderr());
                    bad = true;
                }
                other => other?,
            }
        }
    }
    if args.json {
        output::json(&all)?;
    }
    if bad { Err(Failure::Shown) } else { Ok(()) }
}

/// Says what `train` would say of these data, and what it would refuse of them.
pub fn say(model: &Model, (file, data): (&Path, &Path), decode: bool, global: &GlobalOptions) -> Done {
    let (sets, place) = load_split(model, file, Some(data), pictures(model, None), false)?;
    output::print(&contents::text(model, place.as_deref(), &sets))?;
    let how = if decode { Look::Whole } else { Look::Heads };
    contents::look(sets.parts().into_iter().map(|(_, set)| set), how, global)?;
    let (input, (_, _, outputs)) = (input(model)?, result(model)?);
    classes::check_data(model, &sets)?;
    if let Some(data) = &model.data {
        augment::check(&data.augment, &sets.train)?;
    }
    let table = Classes::of_training(outputs, &[], &sets.names, "")?;
    if !model.data.as_ref().is_some_and(|data| data.allow_empty) {
        table.check_taught(&sets.train)?;
    }
    for (part, set) in
        [("training", Some(&sets.train)), ("validation", sets.valid.as_ref()), ("test", Some(&sets.test))]
    {
        set.map_or(Ok(()), |set| set.check(part, &input, outputs))?;
    }
    Ok(())
}
