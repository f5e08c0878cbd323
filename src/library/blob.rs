//! A plan as bytes for the driver: records of 64-bit words. Places within the blob are offsets from its start, so that only
//! the kernels' addresses need the linker.
//!
//! The fields' names here are the constants of the driver's text.

use ninc_runtime::plan::{Launch, Place, Plan, Port};
use ninc_runtime::spec::Prepare;
use ninc_runtime::store::{self, Store};
use ninc_runtime::weights::Weights;
use ninc_runtime::{Error, Result};

/// The most dimensions of a value, buffers of a launch, and ports of a kind.
const RANK: usize = 8;
const BUFFERS: usize = 64;
const PORTS: usize = 64;
/// Images that a run takes together, as `ninc run` does.
const CHUNK: usize = 64;

const PLAN: [&str; 40] = [
    "PERSISTENT",
    "FIXED",
    "IMAGE",
    "GROUP",
    "CHUNK",
    "SCRATCH",
    "STAGING",
    "LARGEST",
    "PREPARE",
    "PREPARE_AT",
    "PREPARE_EACH_RUN",
    "LAUNCHES",
    "LAUNCHES_AT",
    "INPUTS",
    "INPUTS_AT",
    "OUTPUTS",
    "OUTPUTS_AT",
    "PARAMS",
    "PARAMS_AT",
    "FITTED",
    "FITTED_AT",
    "FITTED_BYTES",
    "STEPS",
    "STEPS_AT",
    "PREPARE_TEXT",
    "CHANNELS",
    "HEIGHT",
    "WIDTH",
    "CLASSES",
    "CLASSES_AT",
    "SEED",
    "LABELS",
    "LOSS",
    "HEADER",
    "HEADER_AT",
    "SAVES",
    "SAVES_AT",
    "FEW",
    "MOST",
    "FINISH",
];
const LAUNCH: [&str; 6] = ["KERNEL", "ROUNDS", "EACH", "IMAGES", "BUFFERS", "BUFFERS_AT"];
const TENSOR: [&str; 4] = ["NAME", "ENTRY", "SUM", "ELEMENTS"];
const PORT: [&str; 7] = ["KIND", "OFFSET", "BATCHED", "FEED", "VALUE", "RANK", "DIMS_AT"];
const PORT_WORDS: usize = TENSOR.len() + PORT.len() + 2 * RANK;
const STEP: [&str; 3] = ["KIND", "FIRST", "SECOND"];
/// A tensor of a weights file that a training library writes.
const SAVE: [&str; 3] = ["RECORD", "FITTED", "SUM"];
const HANDLE: [&str; 3] = ["PLAN", "PERSISTENT", "FITTED"];
/// The first three are what kernels get as their variables.
const REGION: [&str; 17] = [
    "BATCH",
    "FIRST",
    "TOTAL",
    "PLAN",
    "PERSISTENT",
    "ARENA",
    "SCRATCH",
    "ARRIVED",
    "PHASE",
    "THREADS",
    "GO",
    "PREPARE",
    // Only where weights are read.
    "LOADER",
    "HANDLE",
    "ROOM",
    "NEXT",
    "STATUS",
];
const FEEDS: [&str; 6] = ["IMAGE", "LABELS", "KEY", "VALUE", "RATE", "STEP"];
const STEPS: [&str; 5] = ["SCALE", "MEAN_STD", "GCN", "ZCA", "LCN"];

/// All constants of the driver's text.
pub fn constants() -> Vec<(String, i64)> {
    let mut all = Vec::new();
    let records: [(&str, &[&str], usize, usize); 8] = [
        ("PLAN", &PLAN, 0, PLAN.len()),
        ("LAUNCH", &LAUNCH, 0, LAUNCH.len()),
        ("TENSOR", &TENSOR, 0, PORT_WORDS),
        ("PORT", &PORT, TENSOR.len(), PORT_WORDS),
        ("STEP", &STEP, 0, STEP.len()),
        ("SAVE", &SAVE, 0, SAVE.len()),
        ("HANDLE", &HANDLE, 0, HANDLE.len()),
        ("REGION", &REGION, 0, REGION.len()),
    ];
    for (record, fields, start, words) in records {
        for (i, field) in fields.iter().enumerate() {
            all.push((format!("{record}_{field}"), 8 * (start + i) as i64));
        }
        all.push((format!("{record}_BYTES"), 8 * words as i64));
    }
    all.push(("CHECKSUM_AT".into(), 8 + store::CHECKSUM.len() as i64));
    all.push(("PORT_SIZES".into(), 8 * (TENSOR.len() + PORT.len()) as i64));
    all.push(("PORT_STRIDES".into(), 8 * (TENSOR.len() + PORT.len() + RANK) as i64));
    for (group, names) in [("FEED", &FEEDS[..]), ("STEP", &STEPS[..])] {
        all.extend(names.iter().enumerate().map(|(i, name)| (format!("{group}_{name}"), i as i64)));
    }
    all
}

/// Bytes, and where the addresses of which kernels belong.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    pub bytes: Vec<u8>,
    pub kernels: Vec<(usize, usize)>,
}

/// What a training step is fed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed {
    Image,
    Labels,
    Key,
    /// Always the same number.
    Value(f64),
    /// The number times the schedule's factor.
    Rate(f64),
    /// The number of the step, from 1.
    Step,
}

/// What belongs to a program besides its plan.
pub struct Extras<'a> {
    /// For each input of the plan.
    pub feeds: Vec<Feed>,
    /// Gives the preparation, if there is one.
    pub weights: &'a Weights,
    /// Channels, height and width of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    pub classes: &'a [String],
    pub training: Option<Training<'a>>,
}

/// What a training step needs.
pub struct Training<'a> {
    pub seed: u64,
    /// The weights file of inference, which the library writes as well.
    pub saved: &'a Store,
}

impl Blob {
    fn words(&mut self, count: usize) -> usize {
        let at = self.bytes.len();
        self.bytes.resize(at + 8 * count, 0);
        at
    }

    fn set(&mut self, at: usize, value: usize) {
        self.bytes[at..at + 8].copy_from_slice(&(value as u64).to_le_bytes());
    }

    fn list(&mut self, values: &[usize]) -> usize {
        let at = self.words(values.len());
        for (i, &value) in values.iter().enumerate() {
            self.set(at + 8 * i, value);
        }
        at
    }

    fn text(&mut self, text: &str) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(text.as_bytes());
        // A 0 at the end, and words stay aligned.
        self.bytes.resize((self.bytes.len() + 1).next_multiple_of(8), 0);
        at
    }

    /// Sets a field of the plan, which is the first record.
    fn field(&mut self, name: &str, value: usize) {
        let at = PLAN.iter().position(|f| *f == name).expect("a field of the plan");
        self.set(8 * at, value);
    }
}

pub fn build(plan: &Plan, extras: &Extras) -> Result<Blob> {
    let mut blob = Blob::default();
    blob.words(PLAN.len());
    let scratch = plan.kernels.iter().map(|k| k.scratch_bytes).max().unwrap_or(0).next_multiple_of(64);
    let sizes = [
        ("PERSISTENT", plan.persistent_bytes.next_multiple_of(64)),
        ("FIXED", plan.fixed_bytes),
        ("IMAGE", plan.image_bytes),
        ("GROUP", plan.group.unwrap_or(0)),
        ("CHUNK", if extras.training.is_some() { 0 } else { CHUNK }),
        ("SCRATCH", scratch),
        ("LARGEST", plan.params.iter().map(|p| 4 * p.elements()).max().unwrap_or(0)),
        ("PREPARE_EACH_RUN", usize::from(plan.prepare_each_run)),
        ("FINISH", plan.finish),
    ];
    for (name, value) in sizes {
        blob.field(name, value);
    }
    for (count, at, list) in [("PREPARE", "PREPARE_AT", &plan.prepare), ("LAUNCHES", "LAUNCHES_AT", &plan.launches)] {
        let place = launches(&mut blob, plan, list)?;
        blob.field(count, list.len());
        blob.field(at, place);
    }
    let feeds = |i: usize| extras.feeds.get(i).copied();
    for (count, at, ports) in [
        ("INPUTS", "INPUTS_AT", &plan.inputs),
        ("OUTPUTS", "OUTPUTS_AT", &plan.outputs),
        ("PARAMS", "PARAMS_AT", &plan.params),
    ] {
        if count != "PARAMS" && ports.len() > PORTS {
            return Err(Error::new(format!("a library has at most {PORTS} inputs and outputs, not {}", ports.len())));
        }
        let place = blob.words(ports.len() * PORT_WORDS);
        for (i, port) in ports.iter().enumerate() {
            let feed = if count == "INPUTS" { feeds(i) } else { None };
            write_port(&mut blob, place + 8 * i * PORT_WORDS, plan, port, feed)?;
        }
        blob.field(count, ports.len());
        blob.field(at, place);
    }
    preparation(&mut blob, extras)?;
    let names: Vec<usize> = extras.classes.iter().map(|name| blob.text(name)).collect();
    let place = blob.list(&names);
    blob.field("CLASSES", names.len());
    blob.field("CLASSES_AT", place);
    if let Some(training) = &extras.training {
        write_training(&mut blob, plan, extras, training)?;
    }
    if let Some((most, few)) = &plan.few {
        append(&mut blob, build(few, extras)?, *most);
    }
    Ok(blob)
}

/// Another plan for at most so many images, behind the first. Its places count from its own start.
fn append(blob: &mut Blob, few: Blob, most: usize) {
    let start = blob.bytes.len();
    blob.bytes.extend(few.bytes);
    blob.kernels.extend(few.kernels.into_iter().map(|(at, kernel)| (start + at, kernel)));
    blob.field("FEW", start);
    blob.field("MOST", most);
}

/// A record's place: the `index`-th of those that the plan's field points to.
fn record(blob: &Blob, field: &str, index: usize) -> usize {
    let at = 8 * PLAN.iter().position(|f| *f == field).expect("a field of the plan");
    let word: [u8; 8] = blob.bytes[at..at + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(word) as usize + 8 * index * PORT_WORDS
}

/// The seed, where the loss and the labels are, and the header of the file of weights with zeros for all checksums.
fn write_training(blob: &mut Blob, plan: &Plan, extras: &Extras, training: &Training) -> Result<()> {
    let missing = |what: &str| Error::new(format!("the training step has no {what}"));
    let output = |name: &str| plan.outputs.iter().position(|p| p.name == name).ok_or_else(|| missing(name));
    blob.field("SEED", training.seed as usize);
    blob.field("LOSS", output("loss")?);
    blob.field("LABELS", plan.outputs[output("logits")?].elements());
    let bytes = training.saved.to_bytes();
    let length: [u8; 8] = bytes[..8].try_into().expect("a file starts with its header's length");
    let mut header = bytes[..8 + u64::from_le_bytes(length) as usize].to_vec();
    let start = 8 + store::CHECKSUM.len();
    header[start..start + 8].fill(b'0');
    let mut saves = Vec::new();
    let fitted: Vec<String> =
        extras.weights.preparation.iter().flat_map(|p| p.tensors()).map(|(name, _)| name).collect();
    for name in training.saved.tensors.keys() {
        let text = store::sum_entry(name);
        let at = header.windows(text.len()).position(|w| w == text.as_bytes());
        let at = at.ok_or_else(|| missing("checksum in the header"))? + text.len();
        header[at..at + 8].fill(b'0');
        match plan.params.iter().position(|p| p.name == *name) {
            Some(param) => saves.extend([record(blob, "PARAMS_AT", param), 0, at]),
            None => {
                let place = fitted.iter().position(|f| f == name).ok_or_else(|| missing(name))?;
                saves.extend([record(blob, "FITTED_AT", place), 1, at]);
            }
        }
    }
    blob.field("SAVES", training.saved.tensors.len());
    let place = blob.list(&saves);
    blob.field("SAVES_AT", place);
    blob.field("HEADER", header.len());
    let place = blob.bytes.len();
    blob.bytes.extend(&header);
    blob.bytes.resize(blob.bytes.len().next_multiple_of(8), 0);
    blob.field("HEADER_AT", place);
    Ok(())
}

fn launches(blob: &mut Blob, plan: &Plan, launches: &[Launch]) -> Result<usize> {
    let place = blob.words(launches.len() * LAUNCH.len());
    for (i, launch) in launches.iter().enumerate() {
        if launch.buffers.len() > BUFFERS {
            let name = &plan.kernels[launch.kernel].name;
            return Err(Error::new(format!("the kernel {name} has more than {BUFFERS} buffers")));
        }
        let buffers: Vec<usize> = launch
            .buffers
            .iter()
            .flat_map(|&b| {
                let (kind, offset) = kind(plan.buffers[b].place);
                [kind, offset]
            })
            .collect();
        let list = blob.list(&buffers);
        let record = place + 8 * i * LAUNCH.len();
        blob.kernels.push((record, launch.kernel));
        let values = [launch.rounds.fixed, launch.rounds.each, launch.rounds.images, launch.buffers.len(), list];
        for (field, value) in values.into_iter().enumerate() {
            blob.set(record + 8 * (field + 1), value);
        }
    }
    Ok(place)
}

fn kind(place: Place) -> (usize, usize) {
    match place {
        Place::Persistent { offset } => (0, offset),
        Place::Fixed { offset } => (1, offset),
        Place::PerImage { offset } => (2, offset),
    }
}

/// Name, texts of the header, elements.
fn write_tensor(blob: &mut Blob, at: usize, name: &str, dims: &[usize]) {
    let texts = [name.to_string(), store::entry(name, dims), store::sum_entry(name)];
    for (i, text) in texts.iter().enumerate() {
        let place = blob.text(text);
        blob.set(at + 8 * i, place);
    }
    blob.set(at + 24, dims.iter().product());
}

fn write_port(blob: &mut Blob, at: usize, plan: &Plan, port: &Port, feed: Option<Feed>) -> Result<()> {
    let rank = port.dims.len();
    if rank > RANK || port.elements() == 0 {
        return Err(Error::new(format!("{} has the shape {:?}: a library cannot hold it", port.name, port.dims)));
    }
    write_tensor(blob, at, &port.name, &port.dims);
    let (kind, offset) = kind(plan.buffers[port.buffer].place);
    let (feed, value) = match feed {
        None | Some(Feed::Image) => (0, 0.0),
        Some(Feed::Labels) => (1, 0.0),
        Some(Feed::Key) => (2, 0.0),
        Some(Feed::Value(v)) => (3, v),
        Some(Feed::Rate(v)) => (4, v),
        Some(Feed::Step) => (5, 0.0),
    };
    let dims = blob.list(&port.dims);
    let mut words = vec![kind, offset, usize::from(port.batched), feed, value.to_bits() as usize, rank, dims];
    // Sizes and logical strides of the dimensions in the order of memory, ones in front.
    let stride = |dim: usize| port.dims[dim + 1..].iter().product::<usize>();
    words.extend(vec![1; RANK - rank]);
    words.extend(port.order.iter().map(|&d| port.dims[d]));
    words.extend(vec![0; RANK - rank]);
    words.extend(port.order.iter().map(|&d| stride(d)));
    for (i, word) in words.into_iter().enumerate() {
        blob.set(at + 8 * (TENSOR.len() + i), word);
    }
    Ok(())
}

/// The steps that bring bytes to what the network was trained on, and the fitted numbers that come with the weights.
fn preparation(blob: &mut Blob, extras: &Extras) -> Result<()> {
    let Some(picture) = extras.picture else { return Ok(()) };
    for (name, value) in ["CHANNELS", "HEIGHT", "WIDTH"].into_iter().zip(picture) {
        blob.field(name, value);
    }
    let size: usize = picture.iter().product();
    let plane = picture[1] * picture[2];
    blob.field("STAGING", (4 * size).next_multiple_of(64) + (4 * size).max(24 * plane) + 64);
    let Some(preparation) = &extras.weights.preparation else { return Ok(()) };
    let tensors = preparation.tensors();
    let place = blob.words(tensors.len() * PORT_WORDS);
    let mut offsets = Vec::new();
    let mut end = 0;
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        let at = place + 8 * i * PORT_WORDS;
        write_tensor(blob, at, name, &tensor.dims);
        blob.set(at + 8 * (TENSOR.len() + 1), end);
        offsets.push((name.clone(), end));
        end += (4 * tensor.data.len()).next_multiple_of(64);
    }
    blob.field("FITTED", tensors.len());
    blob.field("FITTED_AT", place);
    blob.field("FITTED_BYTES", end);
    let mut steps = Vec::new();
    for (i, prepare) in preparation.spec().iter().enumerate() {
        let offset = |name: &str| {
            let name = format!("prepare.{i}.{name}");
            offsets.iter().find(|(n, _)| *n == name).map_or(0, |(_, offset)| *offset)
        };
        steps.extend(match prepare {
            Prepare::Scale { .. } => [0, offset("factor"), 0],
            Prepare::MeanStd { .. } => [1, offset("mean"), offset("std")],
            Prepare::Gcn { .. } => [2, offset("scale"), 0],
            Prepare::Zca { .. } => [3, offset("mean"), offset("matrix")],
            Prepare::Lcn => [4, 0, 0],
        });
    }
    let place = blob.list(&steps);
    blob.field("STEPS", preparation.spec().len());
    blob.field("STEPS_AT", place);
    let store = extras.weights.store();
    let spec = store.metadata.get("prepare").map_or("", String::as_str);
    let text = blob.text(&store::metadata_entry("prepare", spec));
    blob.field("PREPARE_TEXT", text);
    Ok(())
}
