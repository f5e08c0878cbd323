//! All files of a library, a function for each kind of file.

use super::contents::{self, Compiled};
use super::error::LibraryError;
use super::header::{self, About, identifier};
use super::levels::Level;
use super::systems::System;
use super::table::{self, Row};
use super::{archive, object, opencl, shared};
use crate::model::Model;
use crate::pipeline::{self, Kernels, Options};
use ninc_runtime::Result;
use ninc_runtime::plan::Port;
use ninc_runtime::spec::Pictures;
use ninc_runtime::store;
use ninc_runtime::weights::Weights;
use serde_json::json;

/// What to build.
pub struct BuildRequest<'a> {
    /// The system that the library is for, one of `systems::SYSTEMS`; `web::TARGET` for a page.
    pub triple: &'a str,
    /// The processors, from the least to the most demanding; at least one.
    pub levels: &'a [Level],
    /// Channels, height and width of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    /// How pictures are read, and what their bytes are divided by.
    pub reading: (Pictures, f32),
    /// Names of the classes; empty if they are not known.
    pub classes: Vec<String>,
    /// Trained weights; without them the library takes no pictures.
    pub weights: Option<&'a Weights>,
    /// Adds the training step.
    pub train: bool,
    /// Puts the weights inside the library.
    pub embed: bool,
    /// Adds the kernels as OpenCL C with a table of their launches.
    pub opencl: bool,
}

impl BuildRequest<'_> {
    /// Returns the system that the library is for.
    pub(super) fn system(&self) -> Result<System> {
        let system = System::named(self.triple).copied();
        Ok(system.ok_or_else(|| LibraryError::internal(format!("a library for {}", self.triple)))?)
    }
}

/// A built library.
pub struct Library {
    /// The files: name and contents.
    pub files: Vec<File>,
    /// A row for each launch.
    pub rows: Vec<Row>,
    /// Bytes of machine code.
    pub code_bytes: usize,
    /// The plan of the most demanding level, with its kernels.
    pub kernels: Kernels,
}

/// Name and contents of a file.
pub type File = (String, Vec<u8>);

/// What every kind of file is made from.
struct Build<'a> {
    model: &'a Model,
    request: &'a BuildRequest<'a>,
    compiled: &'a Compiled,
    system: System,
    /// The network's name in C.
    name: String,
}

/// Compiles a network and makes all files of its library.
pub fn build(model: &Model, request: &BuildRequest, options: &Options) -> Result<Library> {
    let mut compiled = Compiled::new(model, request, options)?;
    let system = request.system()?;
    let build = Build { model, request, compiled: &compiled, system, name: identifier(&model.name) };
    let (object, code_bytes) = object(&build.name, system, contents::library(model, request, &compiled)?)?;
    let mut files = build.texts();
    files.extend(build.binaries(object)?);
    files.extend(build.weights());
    if request.opencl {
        files.extend(build.opencl(options)?);
    }
    let last = compiled.last();
    let rows = table::rows(&last.plan, &last.module, &last.target, &last.report.origins);
    files.push(build.description(&files, &rows, code_bytes));
    Ok(Library { files, rows, code_bytes, kernels: compiled.take_last() })
}

impl Build<'_> {
    /// The header, what build systems read, and examples.
    fn texts(&self) -> Vec<File> {
        header::write(&About {
            name: &self.model.name,
            system: self.system,
            plan: &self.compiled.last().plan,
            picture: contents::picture(self.request),
            classes: self.request.classes.len(),
            embedded: self.request.embed,
            training: self.request.train,
            opencl: self.request.opencl,
            version: env!("CARGO_PKG_VERSION"),
        })
    }

    /// The object, an archive of it, and a shared library where ninc writes one; where Windows' linkers make it, the
    /// list of what it exports.
    fn binaries(&self, object: Vec<u8>) -> Result<Vec<File>> {
        let [own, archive, shared] = self.system.files(&self.name);
        let mut files = vec![(archive, archive::write(&own, &object)?)];
        if let Some(needs) = self.system.shared_needs() {
            let bytes = shared::write(&shared, needs, &object)?;
            files.push((shared, bytes));
        }
        if self.system.windows() {
            let exports = archive::exported(&object)?;
            let lines: String = exports.iter().map(|name| format!("    {name}\n")).collect();
            files.push((format!("{}.def", self.name), format!("EXPORTS\n{lines}").into_bytes()));
        }
        files.push((own, object));
        Ok(files)
    }

    /// The weights, and those that training starts with.
    fn weights(&self) -> Vec<File> {
        let mut files = vec![];
        let given = self.request.weights.is_some() || self.request.train;
        if given && !self.request.embed {
            files.push((format!("{}.safetensors", self.name), self.compiled.saved.to_bytes()));
        }
        if let Some(start) = contents::start(self.compiled) {
            files.push((format!("{}_train.safetensors", self.name), start.to_bytes()));
        }
        files
    }

    /// The kernels as OpenCL C and the table of their launches, which are numbers and names only: weights are where the
    /// library has them.
    fn opencl(&self, options: &Options) -> Result<[File; 2]> {
        let options = Options { emit: vec![], ..options.clone() };
        let (plan, source) = pipeline::opencl_inference(self.model, &options)?;
        let table = opencl::table(&self.name, &plan, &source);
        Ok([
            (format!("{}.cl.json", self.name), table.into_bytes()),
            (format!("{}.cl", self.name), source.text.into_bytes()),
        ])
    }

    /// The library in words for programs, with the checksums of the other files.
    fn description(&self, files: &[File], rows: &[Row], code_bytes: usize) -> File {
        let (request, kernels) = (self.request, self.compiled.last());
        let plan = &kernels.plan;
        let port =
            |p: &Port| json!({ "name": p.name, "type": p.dtype.numpy(), "shape": p.dims, "one_per_image": p.batched });
        let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>();
        let sums: serde_json::Map<String, serde_json::Value> =
            files.iter().map(|(name, bytes)| (name.clone(), json!(format!("{:08x}", store::crc32(bytes))))).collect();
        let pictures = contents::picture(self.request);
        let pictures = pictures.map(|[c, h, w]| {
            let read = request.reading.0;
            json!({ "channels": c, "height": h, "width": w, "order": "HWC, uint8", "read": read })
        });
        let value = json!({
            "network": self.model.name,
            "ninc": env!("CARGO_PKG_VERSION"),
            "target": request.triple,
            "tested": self.system.tested.words(),
            "cpu": request.levels.iter().map(|l| l.name()).collect::<Vec<_>>(),
            "inputs": ports(&plan.inputs),
            "outputs": ports(&plan.outputs),
            "pictures": pictures,
            "prepare": self.compiled.weights.preparation.as_ref().map(|p| p.spec()),
            "classes": request.classes,
            "parameters": kernels.report.parameters,
            "multiply_adds": kernels.report.multiply_adds,
            "arena_bytes": plan.arena_bytes(1),
            "weights_bytes_in_memory": plan.persistent_bytes,
            "code_bytes": code_bytes,
            "launches": rows,
            "crc32": sums,
        });
        let text = serde_json::to_string_pretty(&value).expect("plain data becomes JSON") + "\n";
        (format!("{}.json", self.name), text.into_bytes())
    }
}
