//! Compiling programs for a command, showing their texts, and giving them weights.

use super::foreign;
use super::options::GlobalOptions;
use super::output::{self, Done, usage};
use ninc::lower::target::Target;
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::pipeline::{self, Options, Program};
use ninc::prepare;
use ninc::quantize::floats::floats;
use ninc::types::DType;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::formats::Formats;
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Engine, cache_folder};
use std::path::{Path, PathBuf};

impl GlobalOptions {
    /// The model with the formats that weights state; a precision of floats wins.
    pub fn with_formats(&self, model: &Model, formats: Option<&Formats>) -> Model {
        Model { formats: formats.filter(|_| !self.asks_for_floats()).cloned(), ..model.clone() }
    }

    /// The weights, or if a precision of floats is asked for, what their whole numbers stand for.
    pub fn with_numbers(&self, model: &Model, weights: Weights) -> Done<Weights> {
        Ok(if self.asks_for_floats() { floats(model, weights)? } else { weights })
    }

    pub fn inference(&self, model: &Model, dumps: &[String]) -> Done<Program> {
        self.inference_of(model, None, DType::F32, dumps)
    }

    /// Compiles inference; with a preparation the program takes images of 0 to 255, of this type, else prepared ones.
    pub fn inference_of(
        &self,
        model: &Model,
        preparation: Option<&Preparation>,
        dtype: DType,
        dumps: &[String],
    ) -> Done<Program> {
        let mut program = self.inference_behind(model, preparation.map(Preparation::form), dtype, dumps)?;
        preparation.map_or(Ok(()), |preparation| prepare::write(&mut *program.engine, preparation))?;
        Ok(program)
    }

    /// Like [`GlobalOptions::inference_of`], before the preparation's numbers are known.
    pub fn inference_behind(
        &self,
        model: &Model,
        preparation: Option<&Form>,
        dtype: DType,
        dumps: &[String],
    ) -> Done<Program> {
        let options = Options { dumps: dumps.to_vec(), cache: self.code_cache(), ..self.options()? };
        let program = match preparation {
            Some(preparation) => pipeline::prepared_inference(model, preparation, dtype, &options)?,
            None => pipeline::inference(model, &options)?,
        };
        self.times(&program.report);
        Ok(program)
    }

    /// Compiles a program that gives a value and how each image's class changes with it.
    pub fn score_gradient(&self, model: &Model, name: &str, form: Option<(&Form, DType)>) -> Done<Program> {
        Ok(pipeline::score_gradient(model, name, form, &self.options()?)?)
    }

    /// Compiles a program that gives gradients of the network's loss, or of its result; see [`pipeline::gradients`].
    pub fn gradients(&self, model: &Model, labelled: bool, form: Option<(&Form, DType)>) -> Done<Program> {
        Ok(pipeline::gradients(model, labelled, form, &self.options()?)?)
    }

    fn code_cache(&self) -> Option<PathBuf> {
        if self.no_cache { None } else { cache_folder::private() }
    }

    /// Compiles preparations for this command's device. A light one gets one thread: it runs beside a training.
    pub fn compile_preparations(
        &self,
    ) -> Done<impl Fn(&Preparation, DType) -> ninc_runtime::Result<Box<dyn Engine + Send>> + use<>> {
        let options = Options { cache: self.code_cache(), ..self.options()? };
        Ok(move |preparation: &Preparation, dtype: DType| {
            let threads = if preparation.is_heavy() { options.threads } else { 1 };
            Ok(pipeline::preparation(preparation, dtype, &Options { threads, ..options.clone() })?.engine)
        })
    }

    pub fn training(&self, model: &Model) -> Done<Program> {
        let program = pipeline::training(model, &self.options()?)?;
        self.times(&program.report);
        Ok(program)
    }

    /// Compiles a program for another target than the usual one.
    pub fn for_target(&self, model: &Model, training: bool, target: Target) -> Done<Program> {
        let options = Options { target: Some(target), ..self.options()? };
        let compile = if training { pipeline::training } else { pipeline::inference };
        Ok(compile(model, &options)?)
    }

    /// Compiles a training step whose named values are outputs too, as far as a training has them.
    pub fn traced(&self, model: &Model, values: &[String]) -> Done<Program> {
        // One process looks alone.
        let options = Options { emit: vec![], dumps: values.to_vec(), ranks: None, ..self.options()? };
        Ok(pipeline::training(model, &options)?)
    }

    /// Tells what the user should know, and the times that `--time-passes` asks for.
    pub fn times(&self, report: &pipeline::Report) {
        report.notes.iter().for_each(|text| output::note_once(&format!("note: {text}")));
        if !self.time_passes {
            return;
        }
        let mut rows = vec![vec!["step".to_string(), "ms".to_string()]];
        for (name, time) in &report.times {
            rows.push(vec![name.clone(), format!("{:.3}", time.as_secs_f64() * 1e3)]);
        }
        output::note(output::table(&rows).trim_end_matches('\n'));
    }
}

/// Shows the dumps that `--emit` asked for.
pub fn show_dumps(dumps: &[pipeline::Dump]) -> Done {
    for dump in dumps {
        output::print(&format!("{}\n", dump.text.trim_end_matches('\n')))?;
    }
    Ok(())
}

/// Returns parameters and states of a program for the runtime.
pub fn parameters(params: &[pipeline::ParamInfo]) -> Vec<Parameter> {
    params.iter().map(pipeline::ParamInfo::parameter).collect()
}

/// Gives parameters the values that a training would start with, for programs that only have to run.
pub fn initialise(program: &mut Program) -> Done {
    for parameter in parameters(&program.params) {
        program.engine.write(&parameter.name, &init::values(&parameter, 1))?;
    }
    Ok(())
}

/// Loads weights that came from `path` into a program.
pub fn use_weights(program: &mut Program, weights: &Weights, path: &Path) -> Done {
    foreign::folded::check(weights, &parameters(&program.params), path)?;
    Ok(weights.load_into(&mut *program.engine)?)
}

/// Says whether a network has anything that weights hold?
pub fn has_parameters(model: &Model) -> bool {
    model.graph.ids().into_iter().any(|id| matches!(model.graph.op(id), Operator::Param(_)))
}

/// Returns `--weights`, or the freshest place where they are usually found; `None` for a network without parameters,
/// which needs none.
pub fn find_weights(given: Option<&Path>, model: &Model, file: &Path) -> Done<Option<PathBuf>> {
    if let Some(path) = given {
        return Ok(Some(path.to_path_buf()));
    }
    if foreign::has_weights(file) {
        return Ok(Some(file.to_path_buf()));
    }
    if !has_parameters(model) {
        return Ok(None);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut looked = Vec::new();
    for name in [&model.name, &stem] {
        for place in [Path::new("out"), &folder.join("out"), folder] {
            let path = place.join(format!("{name}.safetensors"));
            if path.is_file() {
                output::note(&format!("weights: {}", path.display()));
                return Ok(Some(path));
            }
            if !looked.contains(&path) {
                looked.push(path);
            }
        }
    }
    if foreign::is(file) {
        return Err(usage(format!("no weights for {}", file.display()), foreign::BESIDE));
    }
    let before = looked.iter().map(|path| path.with_extension("before.safetensors")).find(|path| path.is_file());
    let looked: Vec<String> = looked.iter().map(|p| p.display().to_string()).collect();
    let message = format!("no weights for {}: looked for {}", file.display(), looked.join(", "));
    if let Some(before) = before {
        let help = format!(
            "{} has those of the training before one that has not ended: go on with that by `ninc train --resume`, or \
             give these with `--weights`",
            before.display()
        );
        return Err(usage(message, help));
    }
    Err(usage(
        message,
        format!("train them with `ninc train {}`, or say where they are with `--weights FILE`", file.display()),
    ))
}
