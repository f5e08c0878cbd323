//! A training that several processes share, started by `mpirun` or `srun`: who speaks and writes, what all must have in
//! common, and how all end together.

use crate::cli::options::GlobalOptions;
use crate::cli::output::{self, Done, Failure, usage};
use crate::cli::{contents, preparation};
use ninc::lower::target::Isa;
use ninc::pipeline::{Device, identity_of_devices};
use ninc_runtime::checkpoint::{CompiledFor, Processor};
use ninc_runtime::data::look::{self, Look};
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::data::preparer::Compile;
use ninc_runtime::data::{Dataset, Sets};
use ninc_runtime::image::print::{self, Print};
use ninc_runtime::ranks::Ranks;
use ninc_runtime::shares::of_rank;
use ninc_runtime::spec::DataSpec;
use ninc_runtime::train::Watch;
use ninc_runtime::train::job::Progress;
use ninc_runtime::train::log::Line;
use ninc_runtime::{Error, Result, Tensor};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long other ranks leave the word to the first, which may have the same error, and to the launcher.
const POLITE: Duration = Duration::from_secs(5);
/// How long the launcher has to read what was said before it is told to end all: MPICH's drops what it has not read.
const HEARD: Duration = Duration::from_millis(300);

/// Joins the other processes, if there are any.
#[cfg(unix)]
pub fn connect() -> Result<Option<Arc<Ranks>>> {
    ninc_runtime::mpi::connect()
}

#[cfg(not(unix))]
pub fn connect() -> Result<Option<Arc<Ranks>>> {
    Ok(None)
}

/// Does this process's part of a command that all ranks run; the first one speaks for all.
pub fn together(global: &GlobalOptions, work: impl FnOnce(&GlobalOptions) -> Done) -> Done {
    let Some(ranks) = connect()? else { return work(global) };
    if ranks.rank() > 0 {
        output::hush();
    }
    let done = match global.device() {
        Device::Cpu | Device::OpenCl(_) => work(&global.shared_by(&ranks)),
        Device::Interp => Err(usage(
            "--device interp: the interpreter shares no batch over MPI",
            "leave out --device, or train without mpirun",
        )),
    };
    match done {
        Ok(()) | Err(Failure::Interrupted | Failure::Closed) => {
            // Waiting for this costs less than leaving MPI, where ranks wait at full speed.
            ranks.tell(&[])?;
            done
        }
        Err(Failure::Error(e) | Failure::Usage(e)) => {
            if ranks.rank() > 0 {
                std::thread::sleep(POLITE);
                output::complain(
                    &Error { message: format!("rank {}: {}", ranks.rank(), e.message), help: e.help },
                    global.color_stderr(),
                );
            } else {
                output::complain(&e, global.color_stderr());
            }
            leave(&ranks)
        }
        Err(Failure::Shown) => leave(&ranks),
    }
}

/// Ends all ranks, when the launcher has had the time to read what was said.
fn leave(ranks: &Ranks) -> Done {
    std::thread::sleep(HEARD);
    ranks.abandon();
    Err(Failure::Shown)
}

/// Returns the options with which all ranks compile for the same processor: the narrowest instructions of all, the
/// caches of the first.
pub fn agreed(global: &GlobalOptions) -> Done<GlobalOptions> {
    let Some(ranks) = &global.ranks else { return Ok(global.clone()) };
    let options = global.options()?;
    if let Device::OpenCl(choices) = &options.device {
        let own = identity_of_devices(&options, choices)?;
        let all = ranks.tell(own.as_bytes())?;
        return match all.iter().position(|other| *other != all[0]) {
            None => Ok(global.clone()),
            Some(rank) => Err(usage(
                format!("rank {rank} has another kind of device or driver than rank 0, or was tuned otherwise"),
                "give all ranks devices of one kind, with one driver and the same results of `ninc tune`, or none",
            )),
        };
    }
    let all = processors(ranks, &global.compiled_for()?)?;
    let Some(first) = all.first().filter(|first| all.iter().any(|other| other != *first)) else {
        return Ok(global.clone());
    };
    let width = |processor: &Processor| Isa::ALL.iter().position(|isa| isa.name() == processor.isa);
    let narrowest = all.iter().min_by_key(|processor| width(processor)).unwrap_or(first);
    let common = Processor { caches: first.caches, ..narrowest.clone() };
    let global = global.like(&common);
    let now = global.compiled_for()?;
    for (rank, other) in processors(ranks, &now)?.iter().enumerate() {
        if Some(other) != now.processor.as_ref().filter(|_| *other == common) {
            return Err(usage(
                format!("rank {rank} cannot compute with the bits of the others: its processor has other instructions"),
                "give all ranks what every processor has: --isa avx2, or --isa portable",
            ));
        }
    }
    output::note(&format!("note: the ranks' processors differ; all compute as this one: {now}"));
    Ok(global)
}

fn processors(ranks: &Ranks, own: &CompiledFor) -> Result<Vec<Processor>> {
    let text = serde_json::to_vec(&own.processor).map_err(|e| Error::new(e.to_string()))?;
    let read = |said: Vec<u8>| {
        let processor = serde_json::from_slice::<Option<Processor>>(&said).ok().flatten();
        processor.ok_or_else(|| Error::new("a rank says something else than what it compiles for"))
    };
    ranks.tell(&text)?.into_iter().map(read).collect()
}

/// Looks at all pictures of a training. Where all ranks have them in one folder, each reads a part of them and tells
/// the others what it found.
pub fn look(sets: &Sets, how: Look, global: &GlobalOptions) -> Done {
    let files = look::files(sets.parts().into_iter().map(|(_, set)| set));
    let Some(ranks) = &global.ranks else { return contents::look_at(&files, how, global) };
    let seen = ranks.tell(&look::seen(&files).to_ne_bytes())?;
    if seen.iter().any(|other| *other != seen[0]) {
        return contents::look_at(&files, how, global);
    }
    let part = |rank: usize| &files[of_rank(files.len(), rank, ranks.count())];
    contents::look_at(part(ranks.rank()), how, global)?;
    let print = |file: &&Path| Print::recall(file, print::state(file).ok()?);
    let own: Vec<Option<Print>> = part(ranks.rank()).iter().map(print).collect();
    let own = serde_json::to_vec(&own).map_err(|e| Error::new(e.to_string()))?;
    for (rank, said) in ranks.tell(&own)?.into_iter().enumerate() {
        let prints: Vec<Option<Print>> = serde_json::from_slice(&said)
            .map_err(|_| Error::new(format!("rank {rank} says something else than files")))?;
        for (file, print) in part(rank).iter().zip(prints) {
            if let Some(print) = print {
                print.learn(file, print::state(file)?);
            }
        }
    }
    Ok(())
}

/// Fits the preparation on the first rank, for all: by its instructions, and once.
pub fn fitted(global: &GlobalOptions, spec: &DataSpec, train: &Dataset, compile: &Compile) -> Done<Preparation> {
    let Some(ranks) = &global.ranks else { return preparation::fit(spec, train, compile) };
    let own = (ranks.rank() == 0).then(|| preparation::fit(spec, train, compile)).transpose()?;
    let form = Form::new(spec.prepare.clone(), train.images.dims)?;
    let mut tensors = BTreeMap::new();
    for (name, dims) in form.shapes() {
        let tensor = own.iter().flat_map(Preparation::tensors).find(|(own, _)| *own == name);
        let data = ranks.numbers_of_first(&tensor.map(|(_, tensor)| tensor.data).unwrap_or_default())?;
        tensors.insert(name, Tensor { dims, data });
    }
    match own {
        Some(own) => Ok(own),
        None => {
            let fitted = Preparation::from_tensors(form, |name| tensors.get(name).cloned())?;
            Ok(fitted.of_inputs(Some(spec.pictures()), Some(train.range())))
        }
    }
}

/// Hears how training goes where another process tells it.
pub struct Silent;

impl Watch for Silent {
    fn step(&mut self, _progress: &Progress) {}
    fn epoch(&mut self, _line: &Line) {}
    fn note(&mut self, _text: &str) {}
}
