//! Options that all commands share.

use super::beside;
use super::completions;
use super::foreign::ForeignOptions;
use super::named::{Named, Precision, algorithm, isa, last, precision};
use super::output::{Done, counted, usage};
use super::tune;
use clap::ValueEnum;
use clap_complete::engine::ArgValueCompleter;
use ninc::lower::target::{self, Algorithm, Cpu, Isa, Target};
use ninc::pipeline::{Device, Emit, Options};
use ninc::types::Format;
use ninc_runtime::Error;
use ninc_runtime::checkpoint::{CompiledFor, Processor};
use ninc_runtime::opencl;
use ninc_runtime::ranks::Ranks;
use ninc_runtime::spec::Recipe;
use std::io::IsTerminal;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(clap::Args, Clone, Debug)]
pub struct GlobalOptions {
    /// What runs the program: cpu, interp (the reference interpreter: slow), opencl, opencl:1 (see `ninc devices`), or
    /// several that share each batch: opencl:0,opencl:1; `compare` takes two
    #[arg(long = "device", value_name = "DEVICE", default_value = "cpu", global = true)]
    #[arg(add = ArgValueCompleter::new(completions::devices))]
    devices: Vec<Device>,
    /// Vector instructions to use; auto takes the widest that this machine has
    #[arg(long = "isa", value_name = "ISA", value_parser = isa(), default_value = "auto", global = true)]
    isas: Vec<Named<Option<Isa>>>,
    /// Convolution algorithm; auto takes the one that a model of costs predicts to be fastest
    #[arg(long = "algorithm", value_name = "ALGORITHM", global = true)]
    #[arg(value_parser = algorithm(), default_value = "auto")]
    algorithms: Vec<Named<Algorithm>>,
    /// The numbers that products multiply; bf16 is faster where the processor has matrix units for it (AMX) or
    /// multiplies pairs of it quickly (AVX512_BF16 of AMD), or a GPU has matrix units, tf32 with AMX or on such a GPU;
    /// elsewhere as fast as f32
    #[arg(long = "precision", value_name = "PRECISION", global = true)]
    #[arg(value_parser = precision(), default_value = "auto")]
    precisions: Vec<Named<Precision>>,
    /// Number of threads [default: one for each processor]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Compile for data caches of these sizes (first, second and last level) instead of this machine's: `48K,2M,32M`.
    /// They decide how convolutions are computed, and so the last bits of results
    #[arg(long, value_name = "SIZES", global = true, value_parser = caches)]
    caches: Option<[usize; 3]>,
    /// Whether these are the options of a training.
    #[arg(skip)]
    training: bool,
    /// Whether a training adds up its sums in groups of images, as one that an earlier version began.
    #[arg(skip)]
    groups: bool,
    /// Whether a training on OpenCL devices adds them up in shares of the batch, as several processes do.
    #[arg(skip)]
    device_shares: bool,
    /// The processes that share each batch of a training.
    #[arg(skip)]
    pub ranks: Option<Arc<Ranks>>,
    /// Set a parameter of the network
    #[arg(long = "set", value_name = "NAME=VALUE", global = true, value_parser = pair)]
    #[arg(add = ArgValueCompleter::new(completions::parameters))]
    pub set: Vec<(String, String)>,
    /// Show the program after stages of compilation: ast, graph, grad, opt, explain, kernel, plan, clif, asm, opencl;
    /// `opt:PASS` after a pass
    #[arg(long, value_name = "STAGE,…", value_delimiter = ',', global = true)]
    #[arg(add = ArgValueCompleter::new(completions::stages))]
    pub emit: Vec<Emit>,
    /// Show how long each step of compilation takes
    #[arg(long, global = true)]
    pub time_passes: bool,
    /// Leave out the checks between the steps of compilation
    #[arg(long, global = true)]
    no_verify: bool,
    /// Neither use nor keep machine code of earlier starts
    #[arg(long, global = true)]
    pub no_cache: bool,
    #[command(flatten)]
    pub foreign: ForeignOptions,
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

/// Reads a number of an option from `low` to `high`, both included; neither infinities nor NaN are numbers.
pub fn number(low: f64, high: f64) -> impl Fn(&str) -> Result<f64, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim().parse::<f64>() {
        Ok(v) if (low..=high).contains(&v) => Ok(v),
        _ => Err(format!("expected a number from {low} to {high}")),
    }
}

fn caches(text: &str) -> Result<[usize; 3], String> {
    target::parse_caches(text).ok_or_else(|| "expected three sizes, each at least `1K`, like `48K,2M,32M`".into())
}

impl GlobalOptions {
    pub fn device(&self) -> Device {
        last(&self.devices)
    }

    /// Returns the options of one of the two sides of `compare`. What was given once holds for both.
    pub fn side(&self, side: usize) -> GlobalOptions {
        fn pick<T: Clone>(given: &[T], side: usize) -> Vec<T> {
            vec![given.get(side).cloned().unwrap_or_else(|| last(given))]
        }
        GlobalOptions {
            devices: pick(&self.devices, side),
            isas: pick(&self.isas, side),
            algorithms: pick(&self.algorithms, side),
            precisions: pick(&self.precisions, side),
            emit: vec![],
            ..self.clone()
        }
    }

    /// Returns these options for a command that trains: compiled for the caches that are this machine's own, and for
    /// bits that every processor with the same instructions has, alone or with others.
    pub fn for_training(&self) -> GlobalOptions {
        GlobalOptions { training: true, ..self.clone() }
    }

    /// Returns these options for one of several processes that share each batch.
    pub fn shared_by(&self, ranks: &Arc<Ranks>) -> GlobalOptions {
        GlobalOptions { ranks: Some(ranks.clone()), device_shares: true, ..self.clone() }
    }

    /// Returns these options for a training that an earlier version began, which added up in groups of images.
    pub fn in_groups(&self) -> GlobalOptions {
        GlobalOptions { groups: true, ..self.clone() }
    }

    /// Returns these options for a training on OpenCL devices that several processes began.
    pub fn in_device_shares(&self) -> GlobalOptions {
        GlobalOptions { device_shares: true, ..self.clone() }
    }

    /// Returns these options for one process that shares nothing.
    pub fn alone(&self) -> GlobalOptions {
        GlobalOptions { ranks: None, threads: Some(self.threads() as u16), ..self.clone() }
    }

    /// Returns these options with the precision that a recipe asks for, unless the command line names one.
    pub fn for_recipe(&self, recipe: Option<&Recipe>) -> GlobalOptions {
        let word = recipe.and_then(|recipe| recipe.precision.as_deref());
        let asked = word.and_then(Named::<Precision>::of_training);
        let own = last(&self.precisions).value == Precision::Auto;
        let precisions = asked.filter(|_| own).map_or_else(|| self.precisions.clone(), |asked| vec![asked]);
        GlobalOptions { precisions, ..self.clone() }
    }

    /// Returns the number of threads that was asked for; `None` where the machine decides.
    pub fn threads_asked(&self) -> Option<u16> {
        self.threads
    }

    /// Returns these options with more parameters of the network set, and other threads.
    pub fn with(&self, set: &[(String, String)], threads: u16) -> GlobalOptions {
        let set = [&self.set[..], set].concat();
        GlobalOptions { set, threads: Some(threads), ..self.clone() }
    }

    /// Returns the options that decide what is computed, as they are typed.
    pub fn decisive(&self) -> Vec<(String, String)> {
        let caches = self.caches.map(|sizes| sizes.map(|size| size.to_string()).join(","));
        let given = [
            ("--device", Some(self.device().to_string())),
            ("--isa", Some(last(&self.isas).name.into())),
            ("--algorithm", Some(last(&self.algorithms).name.into())),
            ("--precision", Some(last(&self.precisions).name.into())),
            ("--caches", caches),
        ];
        let given = given.into_iter().filter_map(|(option, value)| Some((option.to_string(), value?)));
        given.chain(self.set.iter().map(|(name, value)| (format!("--set {name}"), value.clone()))).collect()
    }

    /// Returns an option that was given and describes the machine that runs what is compiled.
    pub fn about_this_machine(&self) -> Option<&'static str> {
        let isa = last(&self.isas).value.map(|_| "--isa");
        isa.or(self.caches.map(|_| "--caches"))
    }

    /// Returns these options without `--emit`: for a second program beside the one that shows texts.
    pub fn silent(&self) -> GlobalOptions {
        GlobalOptions { emit: vec![], ..self.clone() }
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

    /// Describes a side of `compare` by its options.
    pub fn describe(&self) -> String {
        let isa = Some(last(&self.isas)).filter(|isa| isa.value.is_some()).map(|isa| isa.name);
        let algorithm = Some(last(&self.algorithms)).filter(|a| a.value != Algorithm::Auto).map(|a| a.name);
        let precision = Some(last(&self.precisions)).filter(|p| p.value != Precision::Auto).map(|p| p.name);
        let device = self.device().to_string();
        let parts = [Some(device.as_str()), isa, algorithm, precision];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// Returns the format that products multiply; `None` for float32.
    pub fn precision(&self) -> Option<Format> {
        match last(&self.precisions).value {
            Precision::Rounded(format) => Some(format),
            Precision::Auto | Precision::F32 | Precision::Int8 => None,
        }
    }

    /// Does a precision of floats win over what weights state?
    pub fn asks_for_floats(&self) -> bool {
        matches!(last(&self.precisions).value, Precision::F32 | Precision::Rounded(_))
    }

    /// Is it `--precision int8`?
    pub fn asks_for_int8(&self) -> bool {
        self.precisions.iter().any(|precision| precision.value == Precision::Int8)
    }

    /// Only `bench` and `tune` make up what int8 needs.
    pub fn refuse_int8(&self) -> Done {
        match self.asks_for_int8() {
            false => Ok(()),
            true => Err(usage(
                "--precision int8 needs weights that are quantised",
                "`ninc quantize MODEL --data D --out FILE` makes them; `--weights FILE` is then all it takes",
            )),
        }
    }

    /// Returns the word of the precision where no weights state another.
    pub fn precision_name(&self) -> &'static str {
        match last(&self.precisions) {
            Named { value: Precision::Auto, .. } => "f32",
            given => given.name,
        }
    }

    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let own = || if self.ranks.is_some() { beside::processors(all()) } else { all() };
        self.threads.map_or_else(own, usize::from)
    }

    /// Describes what runs the programs, for people.
    pub fn machine(&self) -> String {
        match self.device() {
            Device::Cpu => {
                format!(
                    "processor ({}, {}), {}",
                    std::env::consts::ARCH,
                    self.isa_name(),
                    counted(self.threads(), "thread")
                )
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

    /// Returns the instruction set that is used.
    pub fn isa_name(&self) -> String {
        last(&self.isas).value.unwrap_or_else(|| Target::host().cpu().isa).name().into()
    }

    pub fn options(&self) -> Done<Options> {
        let options = self.options_of_libraries()?;
        let lacks = |target: &Target| !(self.device() == Device::Cpu && target.cpu().tiles);
        if options.target.as_ref().is_some_and(|target| target.algorithm == Algorithm::Split && lacks(target)) {
            let what = if self.device() == Device::Cpu { "this processor, as it is used" } else { "this device" };
            return Err(usage(
                format!("--algorithm split needs matrix units for bf16 (AMX), which {what}, has not"),
                "--algorithm auto takes what there is",
            ));
        }
        let processor = options.device == Device::Cpu;
        let target = options.target.map(|target| if processor { tune::processor::with_widths(target) } else { target });
        Ok(Options { target, ..options })
    }

    /// Returns the options without asking whether this machine has the units that an algorithm needs.
    pub fn options_of_libraries(&self) -> Done<Options> {
        let isa = last(&self.isas).value;
        if let Some(isa) = isa.filter(|isa| !isa.present()) {
            let error = Error::new(format!("this machine has no {} instructions", isa.name()));
            let present: Vec<&str> = Isa::ALL.iter().filter(|isa| isa.present()).map(|isa| isa.name()).collect();
            return Err(error.with_help(format!("it has: {}", present.join(", "))).into());
        }
        let algorithm = last(&self.algorithms).value;
        let host = isa.map_or_else(Target::host, Target::host_with);
        let cache = if self.training { target::own_caches(host.cache) } else { host.cache };
        // What is computed beside a training, its preparation too, has the bits of any processor that may resume it.
        let host = if self.training { host.with_cpu(|cpu| cpu.parts = false) } else { host };
        Ok(Options {
            target: Some(Target { algorithm, cache: self.caches.unwrap_or(cache), ..host }),
            precision: self.precision(),
            device: self.own_device()?,
            threads: self.threads(),
            in_shares: !self.groups,
            devices_in_shares: self.device_shares,
            ranks: self.ranks.clone(),
            verify: !self.no_verify,
            emit: self.emit.clone(),
            ..Options::default()
        })
    }

    /// Returns the device of this process: those on one machine have one each, where none is named.
    fn own_device(&self) -> Done<Device> {
        match self.device() {
            Device::OpenCl(choices) if choices.is_empty() && self.ranks.is_some() => {
                Ok(Device::OpenCl(vec![opencl::of_process(beside::number())?]))
            }
            device => Ok(device),
        }
    }

    /// Returns what programs are compiled for, as far as it decides roundings.
    pub fn compiled_for(&self) -> Done<CompiledFor> {
        let target = self.options()?.target.unwrap_or_else(Target::host);
        let Cpu { isa, bf16, tiles, .. } = target.cpu();
        let Target { fma, cache: caches, .. } = target;
        let used = tiles && self.precision() == Some(Format::Bf16);
        let processor =
            Processor { isa: isa.name().into(), fma, bf16: bf16 || tiles, tiles: used, caches, shares: !self.groups };
        Ok(CompiledFor {
            device: self.device().to_string(),
            algorithm: last(&self.algorithms).name.into(),
            precision: self.precision_name().into(),
            processor: (self.device() == Device::Cpu).then_some(processor),
            shares: self.device_shares && matches!(self.device(), Device::OpenCl(_)),
        })
    }

    /// Compiles for the processor that a training began on, as far as this one can and no option says otherwise.
    pub fn like(&self, began: &Processor) -> GlobalOptions {
        let isa = Isa::ALL.into_iter().find(|isa| isa.name() == began.isa && isa.present());
        let isas = match isa {
            Some(isa) if last(&self.isas).value.is_none() => vec![Named { name: isa.name(), value: Some(isa) }],
            _ => self.isas.clone(),
        };
        GlobalOptions { isas, caches: self.caches.or(Some(began.caches)), groups: !began.shares, ..self.clone() }
    }
}
