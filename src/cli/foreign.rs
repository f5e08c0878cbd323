//! Networks of other programs as model files: read once, their text, tensors and classes kept for the command.

use super::model_file::result;
use super::options::GlobalOptions;
use super::output::{self, Done, Failure, usage};
use ninc::front;
use ninc::front::diag::{Diagnostic, Severity};
use ninc::io::Imported;
use ninc::io::caffe::{self, CaffeWeights, Channels};
use ninc::io::error::{ImportError, Refusal};
use ninc::io::onnx;
use ninc::io::torch::{self, StateDict, TorchError};
use ninc::model::Model;
use ninc::quantize::imported;
use ninc_runtime::data::files;
use ninc_runtime::foreign::recognise;
use ninc_runtime::formats::Formats;
use ninc_runtime::store;
use ninc_runtime::weights::{Weights, few};
use ninc_runtime::{Error, Tensor};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the weights of a network of Caffe are.
pub const BESIDE: &str = "they are in a file beside it: `--weights NAME.caffemodel`";

/// Most bytes of a file of classes.
const MOST_CLASSES: u64 = 1 << 24;

/// What our own files say of the preparation of their images, in the language, and of how pictures are resized.
pub const PREPARE: &str = caffe::PREPARE;
pub const RESIZE: &str = "ninc.resize";

/// What files of other programs do not say.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ForeignOptions {
    /// Of a network of another program: how its images are prepared, as in `data`: `[scale(1/255), mean_std(mean =
    /// [...], std = [...])]`; `none` for numbers as they are
    #[arg(long, value_name = "LIST", global = true)]
    pub prepare: Option<String>,
    /// Of a network of another program: how pictures are brought to its size
    #[arg(long, value_name = "HOW", value_parser = ["stretch", "crop"], global = true)]
    pub resize: Option<String>,
    /// Of a network of another program: the names of its classes, one a line
    #[arg(long = "classes", value_name = "FILE", global = true)]
    pub class_names: Option<PathBuf>,
    /// Of a network of another program: the shape of an image where the file leaves it open: `3,224,224`
    #[arg(long = "shape", value_name = "SIZES", global = true, value_parser = shape)]
    pub open_shape: Option<Shape>,
    /// Of files of Caffe: the order of the colours that the network was trained with. Caffe's tools read `bgr` (unless
    /// said), and its weights are turned to red, green, blue; `rgb` takes them as they are
    #[arg(long, value_name = "ORDER", value_parser = ["bgr", "rgb"], global = true)]
    pub channels: Option<String>,
}

/// Sizes of an image.
#[derive(Clone, Debug)]
pub struct Shape(Vec<usize>);

fn shape(text: &str) -> Result<Shape, String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.trim().parse().ok().filter(|s| *s > 0)).collect();
    Ok(Shape(sizes.ok_or("expected sizes like `3,224,224`")?))
}

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
    /// Whether it is said that numbers are taken as they are.
    pub unprepared: bool,
}

impl ForeignOptions {
    /// The order of the colours in files of Caffe.
    fn order(&self) -> Channels {
        if self.channels.as_deref() == Some("rgb") { Channels::Rgb } else { Channels::Bgr }
    }
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

/// Says how a network becomes a model file, for what only these can have.
pub fn import_help(path: &Path) -> String {
    let name = path.with_extension("nin").file_name().map(|name| name.to_string_lossy().into_owned());
    format!("`ninc import {} -o {}` makes a model file of it", path.display(), name.unwrap_or_default())
}

/// What was read already: commands ask for the model first and for its weights later.
static READ: Mutex<Vec<(PathBuf, Arc<Foreign>)>> = Mutex::new(Vec::new());

/// Reads a network; `options` say what the file does not.
pub fn read(path: &Path, options: &ForeignOptions) -> Done<Arc<Foreign>> {
    let mut kept = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, foreign)) = kept.iter().find(|(known, _)| known == path) {
        return Ok(foreign.clone());
    }
    let foreign = Arc::new(import(path, options)?);
    kept.push((path.to_path_buf(), foreign.clone()));
    Ok(foreign)
}

/// Reads weights in any form that is known: ours, another program's safetensors, a whole network, or those of PyTorch
/// and Caffe.
pub fn any_weights(path: &Path, options: &ForeignOptions) -> Done<Weights> {
    if is_caffe_weights(path) {
        return Ok(Weights { tensors: of_caffe(path, options.order())?.tensors, ..Weights::default() });
    }
    if is(path) {
        return weights(path, options);
    }
    match of_torch(path)? {
        Some(StateDict { tensors, others, .. }) => Ok(Weights { tensors, others, ..Weights::default() }),
        None => Ok(Weights::read(path)?),
    }
}

/// Is it a file that is not read by its header first: a network, or an archive?
pub fn is_foreign(path: &Path) -> bool {
    is(path) || is_caffe_weights(path) || is_archive(path)
}

/// Reads weights of Caffe, and says which were turned.
fn of_caffe(path: &Path, order: Channels) -> Done<CaffeWeights> {
    let bytes = files::read(path, store::CAP)?;
    let read = caffe::weights(bytes, order).map_err(|e| failure(path, e))?;
    if !read.turned.is_empty() {
        let names: Vec<&str> = read.turned.iter().map(String::as_str).collect();
        output::note_once(&format!(
            "note: weights of {} that read colours are turned from Caffe's blue, green, red to red, green, blue: {}",
            path.display(),
            few(&names)
        ));
    }
    Ok(read)
}

/// Is it a zip archive?
pub fn is_archive(path: &Path) -> bool {
    let mut start = [0; 4];
    files::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *b"PK\x03\x04")
}

/// Reads a file of PyTorch; `None` where it is something else.
pub fn of_torch(path: &Path) -> Done<Option<StateDict>> {
    if !is_archive(path) {
        return Ok(None);
    }
    let bytes = files::read(path, store::CAP)?;
    if !torch::is_torch(&bytes) {
        return Ok(None);
    }
    let error = |e: TorchError| {
        let known = recognise(path, &bytes).unwrap_or_else(|| Error::new(path.display().to_string()));
        Error { message: format!("{}, and its tensors cannot be read: {e}", known.message), ..known }
    };
    Ok(Some(torch::read(&bytes).map_err(error)?))
}

/// Returns the weights of a network of another program.
fn weights(path: &Path, options: &ForeignOptions) -> Done<Weights> {
    if !has_weights(path) {
        let error = Error::new(format!("{} is a network of Caffe without its weights", path.display()));
        return Err(error.with_help(BESIDE).into());
    }
    let foreign = read(path, options)?;
    let (tensors, classes, formats) = (foreign.tensors.clone(), foreign.classes.clone(), foreign.formats.clone());
    Ok(Weights { tensors, classes, formats, ..Weights::default() })
}

fn import(path: &Path, options: &ForeignOptions) -> Done<Foreign> {
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
    let unprepared = prepare.as_deref() == Some("none");
    // Pictures are asked for by `--resize`; else numbers that can be none are read as arrays.
    let pictures = matches!(imported.input[..], [1 | 3, _, _]) || options.resize.is_some();
    let resize = resize.filter(|_| pictures);
    let text = text(path, &imported, prepare.as_deref(), resize, pictures);
    let text = front::format(&text).map_err(|d| unreadable(path, &text, &format!("{d:?}")))?;
    let mut tensors = imported.written.tensors;
    let formats = match front::load(&text, "", &[]).0 {
        Some(model) if imported.written.quantised > 0 => {
            imported::formats(&model, &mut tensors, &imported.written.stated)?
        }
        _ => None,
    };
    note_floats(path, imported.written.quantised, formats.as_ref());
    Ok(Foreign { text, tensors, classes, formats, unprepared })
}

/// Says where a quantised network is computed in floats.
fn note_floats(path: &Path, quantised: usize, formats: Option<&Formats>) {
    let whole = formats.map_or(0, |formats| formats.layers.len());
    if whole < quantised {
        let layers = format!("{} of its {}", quantised - whole, output::counted(quantised, "quantised layer"));
        let what = "are computed in floats, with the ReLU that the lower end of bytes is";
        output::note_once(&format!("note: {}: {layers} {what}", path.display()));
    }
}

/// The whole model file.
fn text(path: &Path, imported: &Imported, prepare: Option<&str>, resize: Option<String>, pictures: bool) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().replace(|c: char| c.is_control(), " "));
    let mut text = format!("//! Imported from {}.\n\n{}", name.unwrap_or_default(), imported.written.text);
    if prepare.is_some() || resize.is_some() {
        let resize = resize.map(|how| format!(", resize = \"{how}\"")).unwrap_or_default();
        let prepare =
            prepare.filter(|list| *list != "none").map(|list| format!("prepare = {list}\n")).unwrap_or_default();
        let source = if pictures { format!("folder(\"data\"{resize})") } else { "npz(\"data.npz\")".into() };
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

/// `--prepare` may be wrong; nothing else of the text is the user's.
fn unreadable(path: &Path, text: &str, what: &str) -> Failure {
    let error = Error::new(format!("the model made of {} is not valid: {what}", path.display()));
    error.with_help(format!("is `--prepare` a list of the language? The whole text:\n{text}")).into()
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

impl GlobalOptions {
    /// Refuses `--classes` that names more or fewer classes than the network has outputs.
    pub fn check_class_names(&self, path: &Path, model: &Model) -> Done {
        let (Some(file), true) = (&self.foreign.class_names, is(path)) else { return Ok(()) };
        let named = read(path, &self.foreign)?.classes.len();
        match result(model) {
            Ok((_, _, outputs)) if named != outputs => Err(usage(
                format!("{} names {named} classes, but {} has {outputs} outputs", file.display(), path.display()),
                "write a line for each output, in their order",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses options about networks of other programs for a model file.
    pub fn refuse_foreign(&self, path: &Path) -> Done {
        let ForeignOptions { prepare, resize, class_names, open_shape, .. } = &self.foreign;
        let given = [
            ("--prepare", prepare.is_some()),
            ("--resize", resize.is_some()),
            ("--classes", class_names.is_some()),
            ("--shape", open_shape.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(usage(
                format!("{option} is for networks of other programs, and {} is a model file", path.display()),
                "leave it out: the model's `data` and its weights say it",
            )),
            None => Ok(()),
        }
    }

    /// Refuses pictures where neither the network's file nor an option says how they are prepared.
    pub fn need_preparation(&self, path: &Path, prepared: bool) -> Done {
        if prepared || !is(path) || read(path, &self.foreign)?.unprepared {
            return Ok(());
        }
        let message = format!("{} does not say how pictures are prepared for it", path.display());
        let help = "say it as it was trained: `--prepare '[scale(1/255), mean_std(mean = [0.485, 0.456, 0.406], std = \
                    [0.229, 0.224, 0.225])]'` is torchvision's; `--prepare none` gives it numbers of 0 to 255";
        Err(usage(message, help))
    }
}
