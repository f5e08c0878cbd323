//! Weights with all that is needed to use them: the preparation of the input and the names of the classes.

use crate::data::files;
use crate::data::prepare::{Form, Preparation};
use crate::finite;
use crate::formats::{Formats, Whole};
use crate::init::Parameter;
use crate::spec::{Prepare, Recipe};
use crate::store::{Disk, FORMATS, Header, Numbers, Store, of_preparation};
use crate::{Engine, Error, Result, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Version of the file's metadata.
pub const FORMAT: &str = "ninc-weights-1";

/// A network's parameters with what belongs to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Name of the model.
    pub model: String,
    /// Its tensors, in PyTorch's layouts.
    pub tensors: BTreeMap<String, Tensor>,
    /// What was done to every image.
    pub preparation: Option<Preparation>,
    /// Names of the classes, where they are known.
    pub classes: Vec<String>,
    /// How they were trained.
    pub recipe: Option<Recipe>,
    /// Epochs trained; 0 where not known.
    pub epoch: u64,
    /// Like [`Store::others`].
    pub others: BTreeMap<String, String>,
    /// The formats of the network's layers, of quantised weights.
    pub formats: Option<Formats>,
}

impl Weights {
    /// Puts all of it into a file's form.
    pub fn store(&self) -> Store {
        let json = |value: serde_json::Result<String>| value.expect("plain data becomes JSON");
        let mut store = Store { tensors: self.tensors.clone(), ..Store::default() };
        let mut set = |key: &str, value: String| store.metadata.insert(key.into(), value);
        set("format", FORMAT.into());
        set("model", self.model.clone());
        set("epoch", self.epoch.to_string());
        set("classes", json(serde_json::to_string(&self.classes)));
        if let Some(recipe) = &self.recipe {
            set("recipe", json(serde_json::to_string(recipe)));
        }
        if let Some(formats) = &self.formats {
            set(FORMATS, formats.to_text());
            store.whole =
                self.tensors.keys().filter_map(|name| Some((name.clone(), numbers(formats, name)?))).collect();
        }
        let mut set = |key: &str, value: String| store.metadata.insert(key.into(), value);
        if let Some(preparation) = &self.preparation {
            set("prepare", json(serde_json::to_string(preparation.spec())));
            set("image", json(serde_json::to_string(&preparation.dims())));
            if let Some(pictures) = &preparation.pictures() {
                set("pictures", json(serde_json::to_string(pictures)));
            }
            if let Some(range) = preparation.form().stated_range() {
                set("range", json(serde_json::to_string(&range)));
            }
            store.tensors.extend(preparation.tensors());
        }
        store
    }

    /// Writes the file; at any instant it is the old one or the new one.
    pub fn write(&self, path: &Path, disk: &dyn Disk) -> Result<()> {
        self.store().write(path, disk)
    }

    /// Reads weights of `ninc`, or a safetensors file from elsewhere, which then has no preparation.
    pub fn read(path: &Path) -> Result<Weights> {
        Weights::from_store(Store::read(path, false)?, path)
    }

    /// Like [`Weights::read`], while `work` runs with what the file's header says of the preparation and of formats: on
    /// a thread beside it where the header has a right checksum, else before it. An error of the file comes before
    /// anything of `work`.
    pub fn read_beside<T>(
        path: &Path,
        work: impl FnOnce(Option<&Form>, Option<&Formats>) -> T,
    ) -> Result<(Weights, T)> {
        let (mut file, mut start) = (files::open(path)?, vec![]);
        let header = Header::read(&mut file, &mut start);
        let rest = move || Weights::from_store(Store::read_rest(file, start, path, false)?, path);
        let stated = header.and_then(|header| Some((stated(&header)?, formats(&header.metadata).ok()?)));
        let Some((form, formats)) = stated else {
            let weights = rest()?;
            let done = work(weights.preparation.as_ref().map(Preparation::form), weights.formats.as_ref());
            return Ok((weights, done));
        };
        std::thread::scope(|scope| {
            let reader = scope.spawn(rest);
            let done = work(form.as_ref(), formats.as_ref());
            let weights = reader.join().map_err(|_| Error::new(format!("cannot read {}", path.display())))??;
            Ok((weights, done))
        })
    }

    /// Reads a file's form; `path` is for messages.
    pub fn from_store(mut store: Store, path: &Path) -> Result<Weights> {
        let wrong = |what: &str, e: serde_json::Error| {
            Error::new(format!("{}: its {what} cannot be read: {e}", path.display()))
        };
        if let Some(format) = store.metadata.get("format").filter(|f| f.starts_with("ninc-") && *f != FORMAT) {
            return Err(Error::new(format!("{} has the format {format}, not {FORMAT}", path.display()))
                .with_help("checkpoints are for `train --resume`; weights are the .safetensors file beside them"));
        }
        // Keys of other programs may have our names, and mean something else.
        let ours = store.metadata.get("format").is_some_and(|format| format == FORMAT);
        let text = |key: &str| store.metadata.get(key).map(String::as_str).filter(|_| ours);
        let recipe = text("recipe").map(serde_json::from_str).transpose().map_err(|e| wrong("recipe", e))?;
        let classes = text("classes").map(serde_json::from_str).transpose().map_err(|e| wrong("classes", e))?;
        let formats = formats(&store.metadata).map_err(|e| wrong("formats", e))?;
        let form = form(&store.metadata).map_err(|e| wrong("preparation", e))?;
        let pictures = text("pictures").map(serde_json::from_str).transpose().map_err(|e| wrong("preparation", e))?;
        let range = text("range").map(serde_json::from_str).transpose().map_err(|e| wrong("preparation", e))?;
        let preparation = form
            .map(|(spec, dims)| Form::new(spec, dims))
            .transpose()?
            .map(|form| Preparation::from_tensors(form, |name| store.tensors.get(name).cloned()))
            .transpose()
            .map_err(|e| Error { message: format!("{}: {}", path.display(), e.message), ..e })?
            .map(|preparation| preparation.of_inputs(pictures, range));
        let model = text("model").unwrap_or_default().to_string();
        let epoch = text("epoch").and_then(|e| e.parse().ok()).unwrap_or(0);
        store.tensors.retain(|name, _| !ours || !of_preparation(name));
        let (tensors, classes) = (store.tensors, classes.unwrap_or_default());
        if let Some(broken) = formats.as_ref().and_then(|formats| formats.broken(&tensors)) {
            return Err(Error::new(format!("{}: {broken}", path.display()))
                .with_help("make the file again with `ninc quantize`: with these its sums would be wrong"));
        }
        Ok(Weights { model, tensors, preparation, classes, recipe, epoch, others: store.others, formats })
    }

    /// Computes the CRC-32 of the names, shapes and numbers, as 8 digits.
    pub fn checksum(&self) -> String {
        let mut hasher = crc32fast::Hasher::new();
        for (name, tensor) in &self.tensors {
            hasher.update(format!("{name} {:?};", tensor.dims).as_bytes());
            tensor.data.iter().for_each(|v| hasher.update(&v.to_le_bytes()));
        }
        format!("{:08x}", hasher.finalize())
    }

    /// Compares with what a network has: everything must be there, nothing else, all of the right shape and finite.
    pub fn check(&self, parameters: &[Parameter], path: &Path) -> Result<()> {
        let wanted: BTreeMap<&str, &[usize]> =
            parameters.iter().filter(|p| !p.state).map(|p| (p.name.as_str(), p.dims.as_slice())).collect();
        let here: BTreeSet<&str> = self.tensors.keys().map(String::as_str).collect();
        let absent = wanted.keys().copied().filter(|n| !here.contains(n));
        let (typed, missing): (Vec<&str>, Vec<&str>) = absent.partition(|n| self.others.contains_key(*n));
        let unexpected: Vec<&str> = here.iter().copied().filter(|n| !wanted.contains_key(n)).collect();
        let mut problems = Vec::new();
        if let Some(name) = typed.first() {
            problems.push(format!("`{name}` is there, but as {}, not as floats", self.others[*name]));
        }
        if !missing.is_empty() {
            problems.push(format!("missing: {}", few(&missing)));
        }
        if !unexpected.is_empty() {
            problems.push(format!("not in the network: {}", few(&unexpected)));
        }
        for (name, dims) in &wanted {
            if let Some(tensor) = self.tensors.get(*name).filter(|t| t.dims != *dims) {
                problems.push(format!("`{name}` has the shape {:?} instead of {dims:?}", tensor.dims));
                break;
            }
        }
        if problems.is_empty() {
            return finite::weights(&self.tensors, path);
        }
        let error = Error::new(format!("{} does not fit the network: {}", path.display(), problems.join("; ")));
        let prefix = |m: &&str| unexpected.iter().find_map(|u| u.strip_suffix(m).filter(|p| p.ends_with('.')));
        let guess = missing.first().and_then(|m| Some((m, closest(m, &unexpected)?)));
        Err(match guess {
            _ if let Some(prefix) = missing.first().and_then(prefix) => {
                error.with_help(format!("its names have a prefix that the network's have not: `--rename {prefix}=`"))
            }
            // Other names altogether.
            _ if missing.len() > 1 && of_torch(path) => error.with_help(format!(
                "`ninc weights {} --for NAME.nin -o NAME.safetensors` finds layers by their order",
                path.display()
            )),
            Some((wanted, found)) => error.with_help(format!("did `{found}` mean `{wanted}`?")),
            None => error
                .with_help("are these the weights of this model, with the same `--set`? `--weights FILE` takes others"),
        })
    }

    /// Writes the weights into an engine. Names that the engine does not have are passed over: an inference program may
    /// have dropped a parameter that nothing uses.
    pub fn load_into(&self, engine: &mut dyn Engine) -> Result<()> {
        load(&self.tensors, engine)
    }
}

/// Loads the tensors that a program has by name.
pub fn load(tensors: &BTreeMap<String, Tensor>, engine: &mut dyn Engine) -> Result<()> {
    let names: Vec<String> = engine.params().iter().map(|p| p.name.clone()).collect();
    names
        .iter()
        .filter_map(|name| tensors.get_key_value(name))
        .try_for_each(|(name, tensor)| engine.write(name, tensor))
}

/// How a tensor of whole numbers lies in a file.
fn numbers(formats: &Formats, tensor: &str) -> Option<Numbers> {
    Some(match formats.whole(tensor)? {
        Whole::Weight => Numbers::I8,
        Whole::Bias => Numbers::I32,
    })
}

/// The formats that a file's texts state, if they state any.
fn formats(metadata: &BTreeMap<String, String>) -> serde_json::Result<Option<Formats>> {
    let ours = metadata.get("format").is_some_and(|format| format == FORMAT);
    metadata.get(FORMATS).filter(|_| ours).map(|text| serde_json::from_str(text)).transpose()
}

/// Steps and size of images that a file's texts say, if they say any.
fn form(metadata: &BTreeMap<String, String>) -> serde_json::Result<Option<(Vec<Prepare>, [usize; 3])>> {
    let ours = metadata.get("format").is_some_and(|format| format == FORMAT);
    match (metadata.get("prepare"), metadata.get("image")) {
        (Some(spec), Some(dims)) if ours => Ok(Some((serde_json::from_str(spec)?, serde_json::from_str(dims)?))),
        _ => Ok(None),
    }
}

/// Returns the preparation that a header states, `Some(None)` if it states that there is none; `None` where it
/// contradicts itself.
fn stated(header: &Header) -> Option<Option<Form>> {
    let Some((spec, dims)) = form(&header.metadata).ok()? else { return Some(None) };
    let range = header.metadata.get("range").map(|text| serde_json::from_str(text)).transpose().ok()?;
    let form = Form::new(spec, dims).ok()?.of_range(range);
    let there = form.shapes().iter().all(|(name, shape)| header.shapes.get(name) == Some(shape));
    there.then_some(Some(form))
}

/// Is the file PyTorch's, by its name?
fn of_torch(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    [".pt", ".pth", ".pth.tar"].iter().any(|ending| name.ends_with(ending))
}

/// Lists the first few names, and how many more there are.
pub fn few(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(4).map(|n| format!("`{n}`")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Finds the most similar name, if one is similar at all.
pub fn closest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let best = names.iter().map(|n| (strsim::levenshtein(name, n), *n)).min()?;
    (best.0 <= name.len().max(best.1.len()) / 2).then_some(best.1)
}
