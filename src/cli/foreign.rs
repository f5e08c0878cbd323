//! Networks of other programs as model files: read once, their text, tensors and classes kept for the command.

use super::output::{self, Done, Failure, usage};
use ninc::front;
use ninc::front::codes;
use ninc::front::diag::{Diagnostic, Severity};
use ninc::front::{examples, source_name};
use ninc::io::Imported;
use ninc::io::caffe;
use ninc::io::error::{ImportError, Refusal};
use ninc::io::onnx;
use ninc::quantize::imported;
use ninc_runtime::data::{self, files};
use ninc_runtime::formats::Formats;
use ninc_runtime::spec::Source;
use ninc_runtime::store;
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Tensor};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod folded;
mod options;
mod weights;

pub use options::ForeignOptions;
pub use weights::{any_weights, of_torch};

/// Where the weights of a network of Caffe are.
pub const BESIDE: &str = "they are in a file beside it: `--weights NAME.caffemodel`";

/// What helps where data and network do not fit.
const OTHER_DATA: &str = "`--data` must hold images and classes as the network's; `--source` says what they are: a \
                          known set, or `npz` and `folder` for your own";

/// Most bytes of a file of classes.
const MOST_CLASSES: u64 = 1 << 24;

/// What our own files say of the preparation of their images, in the language, and of how pictures are resized.
pub const PREPARE: &str = caffe::PREPARE;
pub const RESIZE: &str = "ninc.resize";

/// A network of another program.
#[derive(Debug)]
pub struct Foreign {
    /// Its model file, in the one layout.
    pub text: String,
    /// Its tensors.
    pub tensors: BTreeMap<String, Tensor>,
    /// The names of its classes, where they are known.
    pub classes: Vec<String>,
    /// Formats of its layers, where some multiply bytes.
    pub formats: Option<Formats>,
    /// How its images are prepared, as far as that is said.
    prepare: Option<String>,
}

fn ends(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(ending))
}

/// Is the file a network of another program?
pub fn is(path: &Path) -> bool {
    has_weights(path) || ends(path, "prototxt")
}

/// Is the file a network of another program with its weights in it?
pub fn has_weights(path: &Path) -> bool {
    ends(path, "onnx")
}

/// Is the file weights of Caffe?
fn is_caffe_weights(path: &Path) -> bool {
    ends(path, "caffemodel")
}

/// Is the file a network of Caffe, or weights of one?
pub fn is_of_caffe(path: &Path) -> bool {
    ends(path, "prototxt") || is_caffe_weights(path)
}

/// Says how a network becomes a model file, for what only these can have.
pub fn import_help(path: &Path) -> String {
    let name = path.with_extension("nin").file_name().map(|name| name.to_string_lossy().into_owned());
    format!("`ninc import {} -o {}` makes a model file of it", path.display(), name.unwrap_or_default())
}

thread_local! {
    /// What this thread's command has read already: commands ask for the model first and for its weights later.
    static READ: RefCell<Vec<(PathBuf, Arc<Foreign>)>> = const { RefCell::new(Vec::new()) };
}

/// Returns what was read of a file.
fn known(path: &Path) -> Option<Arc<Foreign>> {
    READ.with_borrow(|kept| kept.iter().find(|(known, _)| known == path).map(|(_, foreign)| foreign.clone()))
}

/// Completes weights for a network of another program by the fixed numbers that its own file holds, as Caffe's do.
pub fn with_fixed(file: &Path, mut weights: Weights) -> Weights {
    let known = known(file).filter(|_| !has_weights(file));
    for (name, tensor) in known.iter().flat_map(|foreign| &foreign.tensors) {
        weights.tensors.entry(name.clone()).or_insert_with(|| tensor.clone());
    }
    weights
}

/// Forgets what was read: files change between calls of a program that stays.
pub fn forget() {
    READ.with_borrow_mut(Vec::clear);
}

/// Reads a network; `options` and the data that it meets, if it does, say what the file does not.
pub fn read(path: &Path, options: &ForeignOptions, data: Option<&Path>) -> Done<Arc<Foreign>> {
    if let Some(foreign) = known(path) {
        return Ok(foreign);
    }
    let foreign = Arc::new(import(path, options, data)?);
    READ.with_borrow_mut(|kept| kept.push((path.to_path_buf(), foreign.clone())));
    Ok(foreign)
}

/// Is it a file that is not read by its header first: a network, or an archive?
pub fn is_foreign(path: &Path) -> bool {
    is(path) || is_caffe_weights(path) || is_archive(path)
}

/// Is it a zip archive?
pub fn is_archive(path: &Path) -> bool {
    let mut start = [0; 4];
    files::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *b"PK\x03\x04")
}

/// Does anybody say how images are prepared for a network that was read?
pub fn says_preparation(path: &Path) -> bool {
    known(path).is_some_and(|foreign| foreign.prepare.is_some())
}

fn import(path: &Path, options: &ForeignOptions, data: Option<&Path>) -> Done<Foreign> {
    let bytes = files::read(path, store::CAP)?;
    let open = options.open_shape.as_ref().map(|shape| &shape.0[..]);
    let imported = match has_weights(path) {
        true => onnx::import(bytes, path, open),
        false => caffe::import(&bytes, path, open, options.order()),
    };
    let imported = imported.map_err(|e| failure(path, e))?;
    imported.notes.iter().for_each(|text| output::note_once(&format!("note: {}: {text}", path.display())));
    let prepare = options.prepare.clone().or_else(|| imported.metadata.get(PREPARE).cloned());
    let resize = options.resize.clone().or_else(|| imported.metadata.get(RESIZE).cloned());
    let classes = match &options.class_names {
        Some(file) => lines(file)?,
        None => imported.metadata.get("classes").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
    };
    let source = source(&imported, options, resize.as_deref(), data)?;
    // What is given is kept, too.
    let data = prepare.is_some() || resize.is_some() || options.source.is_some();
    let text = text(path, &imported, prepare.as_deref(), data.then_some(&*source));
    let text = front::format(&text).map_err(|d| unreadable(path, options, &d))?;
    let mut tensors = imported.written.tensors;
    let formats = match front::load(&text, "", &[]).0 {
        Some(model) if imported.written.quantised > 0 => {
            imported::formats(&model, &mut tensors, &imported.written.stated)?
        }
        _ => None,
    };
    note_floats(path, imported.written.quantised, formats.as_ref());
    Ok(Foreign { text, tensors, classes, formats, prepare })
}

/// Says where a quantised network is computed in floats.
fn note_floats(path: &Path, quantised: usize, formats: Option<&Formats>) {
    let whole = formats.map_or(0, |formats| formats.layers.len());
    if whole < quantised {
        let layers = format!("{} of its {}", quantised - whole, output::counted(quantised, "quantised layer"));
        let what = "are computed in floats, with the ReLU that the lower end of bytes is; numbers beyond what bytes \
                    hold are not cut off";
        output::note_once(&format!("note: {}: {layers} {what}", path.display()));
    }
}

/// What the network's data are, in the language: as said, as `data` looks, or as the input is.
fn source(imported: &Imported, options: &ForeignOptions, resize: Option<&str>, data: Option<&Path>) -> Done<String> {
    if let Some(source) = &options.source {
        return match &options.resize {
            Some(how) => Err(usage(
                format!("--resize {how} beside --source {source}"),
                format!("say it in the source: `--source 'folder(resize = \"{how}\")'`"),
            )),
            None => Ok(source.clone()),
        };
    }
    let known = data.map(data::recognise).unwrap_or_default();
    // A folder may hold several sets: the one with images of the network's size, else any, for the message.
    let fits = |source: &&Source| examples(source).is_none_or(|(dims, _)| imported.input == dims);
    if let Some(known) = known.iter().find(fits).or(known.first()) {
        return match &options.resize {
            Some(how) => Err(usage(
                format!("--resize {how}: the data are {}, not a folder of pictures", source_name(known)),
                "leave it out: images must have the size of the network's input",
            )),
            None => Ok(source_name(known).into()),
        };
    }
    // Pictures are asked for by `--resize`; else numbers that can be none are read as arrays.
    Ok(match (&imported.input[..], resize) {
        ([1 | 3, _, _], None) => "folder(\"data\")".into(),
        ([1 | 3, _, _], Some(how)) => format!("folder(\"data\", resize = \"{how}\")"),
        _ if options.resize.is_some() => format!("folder(\"data\", resize = \"{}\")", resize.unwrap_or("stretch")),
        _ => "npz(\"data.npz\")".into(),
    })
}

/// The whole model file, with the source of its data where anything is known of them.
fn text(path: &Path, imported: &Imported, prepare: Option<&str>, source: Option<&str>) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().replace(|c: char| c.is_control(), " "));
    let mut text = format!("//! Imported from {}.\n\n{}", name.unwrap_or_default(), imported.written.text);
    if let Some(source) = source {
        let prepare = prepare.filter(|list| *list != "none");
        let prepare = prepare.map(|list| format!("prepare = {list}\n")).unwrap_or_default();
        text += &format!("\ndata {{\nsource = {source}\n{prepare}}}\n");
    }
    text
}

/// Says what is wrong with a network's text, which nobody wrote: by the layer, without the number of a line.
pub fn told(file: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let one = |d: &Diagnostic| {
        let start = d.span.start.min(text.len());
        let first = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = text.get(first..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let line = line.trim().trim_start_matches("|> ").split_whitespace().collect::<Vec<_>>().join(" ");
        if d.code == codes::DATA_SHAPE && d.severity == Severity::Error && line.starts_with("source") {
            return format!("error: {file} does not fit the data: {}\n  help: {OTHER_DATA}\n", d.message);
        }
        let help = d.help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default();
        match d.severity {
            Severity::Error => format!("error: {file} cannot be imported: `{line}`: {}{help}\n", d.message),
            Severity::Warning => format!("warning: {file}: `{line}`: {}{help}\n", d.message),
        }
    };
    diagnostics.iter().map(one).collect()
}

/// Reads names, one a line.
fn lines(path: &Path) -> Done<Vec<String>> {
    let bytes = files::read(path, MOST_CLASSES)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| Error::new(format!("{} is not text in UTF-8", path.display())))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect())
}

/// What options say may not be the language; everything else of the text is made here.
fn unreadable(path: &Path, options: &ForeignOptions, diagnostics: &[Diagnostic]) -> Failure {
    let given = [("--source", &options.source), ("--prepare", &options.prepare)];
    let given = given.iter().filter_map(|(option, text)| text.as_ref().map(|text| format!("`{option} '{text}'`")));
    let given = given.collect::<Vec<_>>().join(" and ");
    let what = diagnostics.iter().map(|d| d.message.as_str()).collect::<Vec<_>>().join("; ");
    if given.is_empty() {
        return Error::new(format!("the text made of {} is not the language, a bug in ninc: {what}", path.display()))
            .into();
    }
    let help =
        "each is written as in the section `data`: `--source 'svhn(extra = true)'`, `--prepare '[scale(1/255)]'`";
    usage(format!("{given}: {what}"), help)
}

/// The error with the way out; nodes that have no counterpart are listed.
fn failure(path: &Path, error: ImportError) -> Failure {
    let file = path.display();
    let message = match &error {
        ImportError::Refused(nodes) => {
            let row = |r: &Refusal| format!("\n  `{}` ({}): {}", r.node, r.operator, r.reason);
            format!(
                "{file} cannot be imported; these {} have no counterpart:{}",
                if has_weights(path) { "nodes" } else { "layers" },
                nodes.iter().map(row).collect::<String>()
            )
        }
        other => format!("{file} cannot be imported: {other}"),
    };
    match error {
        ImportError::Open { .. } => usage(message, "give the shape of an image: `--shape 3,224,224`"),
        ImportError::Damaged(_) => Error::new(message).with_help("get the file again, or export it anew").into(),
        _ => Error::new(message).into(),
    }
}
