//! What all commands share: options, reading models, compiling, finding data and weights.

use super::output::{self, Done, Failure, usage};
use clap::ValueEnum;
use ninc::front;
use ninc::front::diag::{has_errors, render};
use ninc::lower::target::{self, Algorithm, Isa, Target};
use ninc::model::Model;
use ninc::ops::Operator;
use ninc::pipeline::{self, Device, Emit, Options, Program, Stage};
use ninc::types::Format;
use ninc_runtime::checkpoint::{CompiledFor, Processor};
use ninc_runtime::data::{self, Sets};
use ninc_runtime::init::{self, Parameter};
use ninc_runtime::train::Scores;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, cache_folder, data::files};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum IsaName {
    Auto,
    /// 128 bits, on any processor
    Portable,
    Avx2,
    Avx512,
}

impl IsaName {
    /// None for the widest that this machine has.
    fn isa(self) -> Option<Isa> {
        match self {
            IsaName::Auto => None,
            IsaName::Portable => Some(Isa::Portable),
            IsaName::Avx2 => Some(Isa::Avx2),
            IsaName::Avx512 => Some(Isa::Avx512),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum AlgorithmName {
    Auto,
    Direct,
    /// Fewer multiplications for square windows with stride 1, at a small loss of accuracy
    Winograd,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum PrecisionName {
    F32,
    /// Products of numbers rounded to tf32 (11 significant bits), sums in float32: for matrix units of GPUs
    Tf32,
    /// Products of numbers rounded to bf16 (8 significant bits), sums in float32
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// What runs the program: cpu, interp (the reference interpreter: slow), opencl, opencl:1 (see `ninc devices`), or
    /// several that share each batch: opencl:0,opencl:1; `compare` takes two
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu", global = true)]
    devices: Vec<Device>,
    /// Vector instructions to use; auto takes the widest that this machine has
    #[arg(long = "isa", value_name = "ISA", value_enum, default_value = "auto", global = true)]
    isas: Vec<IsaName>,
    /// Convolution algorithm; auto takes the one that a model of costs predicts to be fastest
    #[arg(long = "algorithm", value_name = "ALGORITHM", value_enum, default_value = "auto", global = true)]
    algorithms: Vec<AlgorithmName>,
    /// The numbers that products multiply; bf16 is faster where the processor multiplies it (AVX512_BF16) or a GPU has
    /// matrix units for it, tf32 on such a GPU; elsewhere as fast as f32
    #[arg(long = "precision", value_name = "PRECISION", value_enum, default_value = "f32", global = true)]
    precisions: Vec<PrecisionName>,
    /// Number of threads [default: one for each processor]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Compile for data caches of these sizes (first, second and last level) instead of this machine's: `48K,2M,32M`. They
    /// decide how convolutions are computed and which images are trained together, and so the last bits of results
    #[arg(long, value_name = "SIZES", global = true, value_parser = caches)]
    caches: Option<[usize; 3]>,
    /// Set a parameter of the network
    #[arg(long = "set", value_name = "NAME=VALUE", global = true, value_parser = pair)]
    pub set: Vec<(String, String)>,
    /// Show the program after stages of compilation: ast, graph, grad, opt, explain, kernel, plan, clif, asm, opencl;
    /// `opt:PASS` after a pass
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',', global = true)]
    pub emit: Vec<Emit>,
    /// Show how long each step of compilation takes
    #[arg(long, global = true)]
    time_passes: bool,
    /// Leave out the checks between the steps of compilation
    #[arg(long, global = true)]
    no_verify: bool,
    /// Neither use nor keep machine code of earlier starts
    #[arg(long, global = true)]
    no_cache: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Colours in messages
    #[arg(long, value_enum, default_value = "auto", global = true)]
    color: Color,
}

pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().into(), value.trim().into())),
        _ => Err("expected NAME=VALUE".into()),
    }
}

fn caches(text: &str) -> Result<[usize; 3], String> {
    target::parse_caches(text).ok_or_else(|| "expected three sizes, each at least `1K`, like `48K,2M,32M`".into())
}

/// The last of what was given: options have a default, so there is one.
fn last<T: Clone>(given: &[T]) -> T {
    given.last().expect("an option with a default has a value").clone()
}

impl Common {
    pub fn device(&self) -> Device {
        last(&self.devices)
    }

    /// One of the two sides of `compare`. What was given once holds for both.
    pub fn side(&self, side: usize) -> Common {
        fn pick<T: Clone>(given: &[T], side: usize) -> Vec<T> {
            vec![given.get(side).cloned().unwrap_or_else(|| last(given))]
        }
        Common {
            devices: pick(&self.devices, side),
            isas: pick(&self.isas, side),
            algorithms: pick(&self.algorithms, side),
            precisions: pick(&self.precisions, side),
            emit: vec![],
            ..self.clone()
        }
    }

    /// These options without `--emit`: for a second program beside the one that shows texts.
    pub fn silent(&self) -> Common {
        Common { emit: vec![], ..self.clone() }
    }

    /// Refuses a second device, or a third where two are compared.
    pub fn at_most(&self, sides: usize) -> Done {
        let counts = [
            ("--device", self.devices.len()),
            ("--isa", self.isas.len()),
            ("--algorithm", self.algorithms.len()),
            ("--precision", self.precisions.len()),
        ];
        match counts.into_iter().find(|(_, count)| *count > sides) {
            None => Ok(()),
            Some((name, count)) => Err(usage(
                format!("{name} was given {count} times"),
                if sides == 1 { "give it once; `ninc compare` takes two" } else { "give it twice, once for each side" },
            )),
        }
    }

    /// A side of `compare` by its options.
    pub fn describe(&self) -> String {
        let name = |value: Option<clap::builder::PossibleValue>| value.map(|v| v.get_name().to_string());
        let parts = [
            Some(self.device().to_string()),
            name(last(&self.isas).to_possible_value().filter(|_| last(&self.isas) != IsaName::Auto)),
            name(last(&self.algorithms).to_possible_value().filter(|_| last(&self.algorithms) != AlgorithmName::Auto)),
            name(last(&self.precisions).to_possible_value().filter(|_| self.precision().is_some())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The format that products multiply, float32 if there is none.
    pub fn precision(&self) -> Option<Format> {
        match last(&self.precisions) {
            PrecisionName::F32 => None,
            PrecisionName::Tf32 => Some(Format::Tf32),
            PrecisionName::Bf16 => Some(Format::Bf16),
        }
    }

    pub fn precision_name(&self) -> String {
        last(&self.precisions).to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default()
    }

    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, |n| n.get());
        self.threads.map_or_else(all, usize::from)
    }

    /// What runs the programs, for people.
    pub fn machine(&self) -> String {
        match self.device() {
            Device::Cpu => {
                format!("processor ({}, {}), {} threads", std::env::consts::ARCH, self.isa_name(), self.threads())
            }
            Device::Interp => "interpreter".into(),
            Device::OpenCl(_) => self.device().to_string(),
        }
    }

    pub fn color_stderr(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// The instruction set that is used.
    pub fn isa_name(&self) -> String {
        last(&self.isas).isa().unwrap_or_else(|| Target::host().isa).name().into()
    }

    pub fn options(&self) -> Done<Options> {
        let isa = last(&self.isas).isa();
        if let Some(isa) = isa.filter(|isa| !isa.present()) {
            let error = Error::new(format!("this machine has no {} instructions", isa.name()));
            let present: Vec<&str> = Isa::ALL.iter().filter(|isa| isa.present()).map(|isa| isa.name()).collect();
            return Err(error.with_help(format!("it has: {}", present.join(", "))).into());
        }
        let algorithm = match last(&self.algorithms) {
            AlgorithmName::Auto => Algorithm::Auto,
            AlgorithmName::Direct => Algorithm::Direct,
            AlgorithmName::Winograd => Algorithm::Winograd,
        };
        let host = isa.map_or_else(Target::host, Target::host_with);
        Ok(Options {
            target: Some(Target { algorithm, cache: self.caches.unwrap_or(host.cache), ..host }),
            precision: self.precision(),
            device: self.device(),
            threads: self.threads(),
            verify: !self.no_verify,
            emit: self.emit.clone(),
            ..Options::default()
        })
    }

    /// What programs are compiled for, as far as it decides roundings.
    pub fn compiled_for(&self) -> Done<CompiledFor> {
        let target = self.options()?.target.unwrap_or_else(Target::host);
        let name = |value: Option<clap::builder::PossibleValue>| value.map_or(String::new(), |v| v.get_name().into());
        let Target { isa, fma, bf16, cache: caches, .. } = target;
        let processor = Processor { isa: isa.name().into(), fma, bf16, caches };
        Ok(CompiledFor {
            device: self.device().to_string(),
            algorithm: name(last(&self.algorithms).to_possible_value()),
            precision: self.precision_name(),
            processor: (self.device() == Device::Cpu).then_some(processor),
        })
    }

    /// Compiles for the processor that a training began on, as far as this one can and no option says otherwise.
    pub fn like(&self, began: &Processor) -> Common {
        let isa = Isa::ALL.into_iter().find(|isa| isa.name() == began.isa && isa.present());
        let same = isa.and_then(|isa| IsaName::from_str(isa.name(), false).ok());
        let isas = match same {
            Some(name) if last(&self.isas) == IsaName::Auto => vec![name],
            _ => self.isas.clone(),
        };
        Common { isas, caches: self.caches.or(Some(began.caches)), ..self.clone() }
    }

    /// Reads and checks a model file; what is wrong with it is shown.
    pub fn model(&self, path: &Path) -> Done<Model> {
        let text = text(path)?;
        if self.emit.iter().any(|e| e.stage == Stage::Ast) {
            output::print(&format!("{:#?}\n", front::syntax_tree(&text).0))?;
        }
        let file = path.display().to_string();
        let (model, diagnostics) = front::load(&text, &file, &self.set);
        if !diagnostics.is_empty() {
            eprint_text(&render(&diagnostics, &text, &file, self.color_stderr()));
        }
        match model {
            Some(model) => Ok(model),
            None if has_errors(&diagnostics) => Err(Failure::Shown),
            None => Err(Error::new(format!("{file} holds no network")).into()),
        }
    }

    pub fn inference(&self, model: &Model, dumps: &[String]) -> Done<Program> {
        let cache = if self.no_cache { None } else { cache_folder::private() };
        let program = pipeline::inference(model, &Options { dumps: dumps.to_vec(), cache, ..self.options()? })?;
        self.times(&program.report);
        Ok(program)
    }

    pub fn training(&self, model: &Model) -> Done<Program> {
        let program = pipeline::training(model, &self.options()?)?;
        self.times(&program.report);
        Ok(program)
    }

    /// A program for another target than the usual one.
    pub fn for_target(&self, model: &Model, training: bool, target: Target) -> Done<Program> {
        let options = Options { target: Some(target), ..self.options()? };
        let compile = if training { pipeline::training } else { pipeline::inference };
        Ok(compile(model, &options)?)
    }

    /// A training step whose named values are outputs too, as far as a training has them.
    pub fn traced(&self, model: &Model, values: &[String]) -> Done<Program> {
        let options = Options { emit: vec![], dumps: values.to_vec(), ..self.options()? };
        Ok(pipeline::training(model, &options)?)
    }

    /// What the user should know, and what `--time-passes` asks for.
    pub fn times(&self, report: &pipeline::Report) {
        report.notes.iter().for_each(|text| output::note_once(&format!("note: {text}")));
        if !self.time_passes {
            return;
        }
        let mut rows = vec![vec!["step".to_string(), "ms".to_string()]];
        for (name, time) in &report.times {
            rows.push(vec![name.clone(), format!("{:.3}", time.as_secs_f64() * 1e3)]);
        }
        eprint_text(&output::table(&rows));
    }
}

fn eprint_text(text: &str) {
    output::note(text.trim_end_matches('\n'));
}

/// Shows the dumps that `--emit` asked for.
pub fn show_dumps(dumps: &[pipeline::Dump]) -> Done {
    for dump in dumps {
        output::print(&format!("{}\n", dump.text.trim_end_matches('\n')))?;
    }
    Ok(())
}

/// A model file's text.
pub fn text(path: &Path) -> Done<String> {
    // Beyond its own bound the front end wants to say it itself, with a code.
    let bytes = files::read(path, 4 * front::MAX_BYTES as u64)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        let error = Error::new(format!("{} is not text: line {line} is not valid UTF-8", path.display()));
        error.with_help("a model is a text file that starts like `network NAME { … }`").into()
    })
}

/// A source's data. `given` is `--data`; the model's own path is relative to its file.
pub fn load_data(model: &Model, file: &Path, given: Option<&Path>) -> Done<Sets> {
    let spec = model.data.as_ref().ok_or_else(|| {
        Error::new(format!("{} has no `data {{ … }}`: there is nothing to train on or to test with", file.display()))
            .with_help("add for example `data { source = digits  prepare = [scale] }`")
    })?;
    let own = spec.path.as_ref().map(|p| file.parent().unwrap_or(Path::new("")).join(p));
    let path = given.map(Path::to_path_buf).or(own);
    Ok(data::load(spec, path.as_deref(), &input(model)?)?)
}

/// The shape of the network's input.
pub fn input(model: &Model) -> Done<Vec<usize>> {
    let graph = &model.graph;
    let mut inputs = graph.ids().into_iter().filter_map(|id| match graph.op(id) {
        Operator::Input(input) if input.batched && !input.ints => Some(input.dims.clone()),
        _ => None,
    });
    match (inputs.next(), inputs.next()) {
        (Some(dims), None) => Ok(dims),
        (None, _) => Err(Error::new(format!("network {} has no input", model.name)).into()),
        _ => Err(Error::new(format!("network {} has several inputs; pictures feed just one", model.name)).into()),
    }
}

/// The dimensions of an image for this input; `[features]` counts as one row.
pub fn image_dims(input: &[usize]) -> Done<[usize; 3]> {
    match *input {
        [c, h, w] => Ok([c, h, w]),
        [n] => Ok([1, 1, n]),
        _ => Err(Error::new(format!("an input of the shape {input:?} takes no pictures")).into()),
    }
}

/// The network's result with one number a class: its name, what it holds, and how many classes there are.
pub fn result(model: &Model) -> Done<(String, Scores, usize)> {
    let graph = &model.graph;
    let (name, id) = graph.outputs.first().ok_or_else(|| Error::new("the network has no result"))?;
    let scores = match graph.op(*id) {
        Operator::Softmax(_) => Scores::Probabilities,
        Operator::LogSoftmax(_) => Scores::LogProbabilities,
        _ => Scores::Logits,
    };
    match graph.ty(*id).dims.as_slice() {
        &[classes] => Ok((name.clone(), scores, classes)),
        dims => Err(Error::new(format!("the result `{name}` has the shape {dims:?}, not one number a class"))
            .with_help("end the network with `global_avg_pool |> softmax`, or name another result with `output`")
            .into()),
    }
}

/// Parameters and states of a program for the runtime.
pub fn parameters(params: &[pipeline::ParamInfo]) -> Vec<Parameter> {
    params.iter().map(pipeline::ParamInfo::parameter).collect()
}

/// Parameters as a training would start with them, for programs that only have to run.
pub fn initialise(program: &mut Program) -> Done {
    for parameter in parameters(&program.params) {
        program.engine.write(&parameter.name, &init::values(&parameter, 1))?;
    }
    Ok(())
}

/// Weights from a file, loaded into a program.
pub fn load_weights(program: &mut Program, path: &Path) -> Done<Weights> {
    let weights = Weights::read(path)?;
    use_weights(program, &weights, path)?;
    Ok(weights)
}

/// Weights that came from `path`, loaded into a program.
pub fn use_weights(program: &mut Program, weights: &Weights, path: &Path) -> Done {
    weights.check(&parameters(&program.params), path)?;
    Ok(weights.load_into(&mut *program.engine)?)
}

/// `--weights`, or the freshest place where they are usually found.
pub fn find_weights(given: Option<&Path>, model: &Model, file: &Path) -> Done<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_path_buf());
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut looked = Vec::new();
    for name in [&model.name, &stem] {
        for place in [Path::new("out"), &folder.join("out"), folder] {
            let path = place.join(format!("{name}.safetensors"));
            if path.is_file() {
                output::note(&format!("weights: {}", path.display()));
                return Ok(path);
            }
            if !looked.contains(&path) {
                looked.push(path);
            }
        }
    }
    let looked: Vec<String> = looked.iter().map(|p| p.display().to_string()).collect();
    Err(usage(
        format!("no weights for {}: looked for {}", file.display(), looked.join(", ")),
        format!("train them with `ninc train {}`, or say where they are with `--weights FILE`", file.display()),
    ))
}
