//! A plan image: a plan as bytes for the driver, in the records of `records`. Places within it are offsets from its
//! start, so that only the kernels' addresses need the linker.

use super::error::LibraryError;
use super::records::{self, RANK, Record, Save};
use super::worth;
use crate::kernel::ir::Module;
use crate::lower::target::Target;
use ninc_runtime::plan::{Launch, Place, Plan, Port};
use ninc_runtime::spec::{Grey, Pictures, Resize};
use ninc_runtime::store::{self, Store};
use ninc_runtime::weights::Weights;

/// The most buffers of a launch, and the most inputs and outputs.
const BUFFERS: usize = 64;
const PORTS: usize = 64;
/// Images that a run takes together, as `ninc run` does.
pub(super) const CHUNK: usize = 64;

/// Names of the values of `Port::kind` and `Port::feed`, in the order of their numbers.
const KINDS: [(&str, &[&str]); 2] =
    [("PLACE", &["PERSISTENT", "FIXED", "IMAGE"]), ("FEED", &["IMAGE", "LABELS", "KEY", "VALUE", "RATE", "STEP"])];

/// The constants of the driver's text: the records' and those of this file.
pub fn constants() -> Vec<(String, i64)> {
    let mut all = records::constants();
    all.push(("CHECKSUM_AT".into(), 8 + store::CHECKSUM.len() as i64));
    all.push(("BUFFERS_BYTES".into(), 8 * BUFFERS as i64));
    all.push(("PORTS_BYTES".into(), 8 * PORTS as i64));
    for (group, names) in KINDS {
        all.extend(names.iter().enumerate().map(|(i, name)| (format!("{group}_{name}"), i as i64)));
    }
    all
}

/// A plan image's bytes and its relocations.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The records, the plan first.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` and index of the kernel.
    pub kernels: Vec<(usize, usize)>,
}

/// What a training step is fed by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed {
    /// Images, from the caller.
    Image,
    /// Classes, from the caller.
    Labels,
    /// The key of the random numbers.
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
    /// What feeds each input of the plan.
    pub feeds: Vec<Feed>,
    /// The weights, which have the preparation, if there is one.
    pub weights: &'a Weights,
    /// Channels, height and width of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    /// How pictures are read.
    pub reading: Pictures,
    /// Bytes of memory in which one picture is prepared.
    pub staging: usize,
    /// Names of the classes.
    pub classes: &'a [String],
    /// For a program that trains.
    pub training: Option<Training<'a>>,
}

/// What a training step needs.
pub struct Training<'a> {
    /// Seed of the random numbers.
    pub seed: u64,
    /// The weights file of inference, which the library writes as well.
    pub saved: &'a Store,
}

impl Image {
    /// Appends words and gives their offset.
    fn list(&mut self, values: &[u64]) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        at
    }

    /// Appends records and gives their offset.
    fn records<R: Record>(&mut self, records: &[R]) -> u64 {
        let at = self.bytes.len() as u64;
        records.iter().for_each(|record| self.bytes.extend(record.bytes()));
        at
    }

    /// Appends bytes with at least one 0 after them and gives their offset. What follows is aligned.
    fn text(&mut self, text: &[u8]) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(text);
        self.bytes.resize((self.bytes.len() + 1).next_multiple_of(8), 0);
        at
    }
}

/// The image of a plan whose kernels are in `module`. Fails if the plan is larger than a library can hold.
pub fn build(plan: &Plan, module: &Module, target: &Target, extras: &Extras) -> Result<Image, LibraryError> {
    let mut image = Image { bytes: vec![0; records::Plan::BYTES], ..Image::default() };
    let mut record = sizes(plan, extras);
    let work = worth::work(plan, module, target);
    (record.work, record.work_image, record.worth) = (work.fixed, work.per_image, work.worth);
    (record.prepare, record.prepare_at) = launches(&mut image, plan, &plan.prepare)?;
    (record.launches, record.launches_at) = launches(&mut image, plan, &plan.launches)?;
    for ports in [&plan.inputs, &plan.outputs] {
        if ports.len() > PORTS {
            return Err(LibraryError::Limit(format!(
                "a library has at most {PORTS} inputs and outputs, not {}",
                ports.len()
            )));
        }
    }
    (record.inputs, record.inputs_at) = ports(&mut image, plan, &plan.inputs, &extras.feeds)?;
    (record.outputs, record.outputs_at) = ports(&mut image, plan, &plan.outputs, &[])?;
    (record.params, record.params_at) = ports(&mut image, plan, &plan.params, &[])?;
    preparation(&mut image, &mut record, extras);
    let formats = extras.weights.formats.as_ref();
    let stated = store::formats_entry(formats);
    (record.formats_text, record.formats) = (image.text(stated.as_bytes()), u64::from(formats.is_some()));
    let names: Vec<u64> = extras.classes.iter().map(|name| image.text(name.as_bytes())).collect();
    (record.classes, record.classes_at) = (names.len() as u64, image.list(&names));
    if let Some(training) = &extras.training {
        write_training(&mut image, &mut record, plan, extras, training)?;
    }
    if let Some((most, small)) = &plan.small_batch {
        // The offsets in the image of the other plan count from its own start.
        let small = build(small, module, target, extras)?;
        let start = image.text(&small.bytes);
        image.kernels.extend(small.kernels.into_iter().map(|(at, kernel)| (start as usize + at, kernel)));
        (record.small_batch, record.most) = (start, *most as u64);
    }
    image.bytes[..records::Plan::BYTES].copy_from_slice(&record.bytes());
    Ok(image)
}

/// Bytes that a plan needs to run one image, on one thread.
pub fn workspace(plan: &Plan) -> usize {
    let plan = plan.for_batch(1);
    let scratch = plan.kernels.iter().map(|k| k.scratch_bytes).max().unwrap_or(0).next_multiple_of(64);
    64 + plan.fixed_bytes + plan.image_bytes + scratch
}

/// The fields of a plan that are sizes.
fn sizes(plan: &Plan, extras: &Extras) -> records::Plan {
    let scratch = plan.kernels.iter().map(|k| k.scratch_bytes).max().unwrap_or(0).next_multiple_of(64);
    let largest = plan.params.iter().map(|p| 4 * p.elements()).max().unwrap_or(0);
    records::Plan {
        persistent: plan.persistent_bytes.next_multiple_of(64) as u64,
        fixed: plan.fixed_bytes as u64,
        image: plan.image_bytes as u64,
        group: plan.group.unwrap_or(0) as u64,
        chunk: if extras.training.is_some() { 0 } else { CHUNK as u64 },
        scratch: scratch as u64,
        largest: largest as u64,
        prepare_each_run: u64::from(plan.prepare_each_run),
        finish: plan.finish as u64,
        ..records::Plan::default()
    }
}

/// The seed, where the loss and the labels are, and the header of the file of weights with zeros for all checksums.
fn write_training(
    image: &mut Image,
    record: &mut records::Plan,
    plan: &Plan,
    extras: &Extras,
    training: &Training,
) -> Result<(), LibraryError> {
    let missing = |what: &str| LibraryError::internal(format!("the training step has no {what}"));
    let output = |name: &str| plan.outputs.iter().position(|p| p.name == name).ok_or_else(|| missing(name));
    record.seed = training.seed;
    record.loss = output("loss")? as u64;
    record.labels = plan.outputs[output("logits")?].elements() as u64;
    let bytes = training.saved.to_bytes();
    let length: [u8; 8] = bytes[..8].try_into().expect("a file starts with its header's length");
    let mut header = bytes[..8 + u64::from_le_bytes(length) as usize].to_vec();
    let start = 8 + store::CHECKSUM.len();
    header[start..start + 8].fill(b'0');
    let mut saves = Vec::new();
    let fitted: Vec<String> =
        extras.weights.preparation.iter().flat_map(|p| p.numbers()).map(|(name, ..)| name).collect();
    for name in training.saved.tensors.keys() {
        let text = store::sum_entry(name);
        let at = header.windows(text.len()).position(|w| w == text.as_bytes());
        let at = at.ok_or_else(|| missing("checksum in the header"))? + text.len();
        header[at..at + 8].fill(b'0');
        let (list, index, fitted) = match plan.params.iter().position(|p| p.name == *name) {
            Some(param) => (record.params_at, param, 0),
            None => {
                let index = fitted.iter().position(|f| f == name).ok_or_else(|| missing(name))?;
                (record.fitted_at, index, 1)
            }
        };
        saves.push(Save { record: list + (index * records::Port::BYTES) as u64, fitted, sum: at as u64 });
    }
    (record.saves, record.saves_at) = (saves.len() as u64, image.records(&saves));
    (record.header, record.header_at) = (header.len() as u64, image.text(&header));
    Ok(())
}

/// The number and the offset of launches.
fn launches(image: &mut Image, plan: &Plan, launches: &[Launch]) -> Result<(u64, u64), LibraryError> {
    let mut list = Vec::new();
    for launch in launches {
        if launch.buffers.len() > BUFFERS {
            let name = &plan.kernels[launch.kernel].name;
            return Err(LibraryError::Limit(format!("the kernel {name} has more than {BUFFERS} buffers")));
        }
        let buffers: Vec<_> = launch.buffers.iter().map(|&b| place(plan.buffers[b].place)).collect();
        list.push(records::Launch {
            // The address of the kernel, which the linker fills in.
            kernel: 0,
            fixed: launch.iterations.fixed as u64,
            each: launch.iterations.each as u64,
            images: launch.iterations.images as u64,
            buffers: buffers.len() as u64,
            buffers_at: image.records(&buffers),
        });
    }
    let at = image.records(&list);
    let kernel = std::mem::offset_of!(records::Launch, kernel);
    let places = (0..).map(|i| at as usize + i * records::Launch::BYTES + kernel);
    image.kernels.extend(places.zip(launches.iter().map(|launch| launch.kernel)));
    Ok((list.len() as u64, at))
}

fn place(place: Place) -> records::Buffer {
    let (kind, offset) = match place {
        Place::Persistent { offset } => (0, offset),
        Place::Fixed { offset } => (1, offset),
        Place::PerImage { offset } => (2, offset),
    };
    records::Buffer { kind, offset: offset as u64 }
}

/// The number and the offset of inputs, outputs or parameters. `feeds` says for each what it is fed by, images if
/// nothing.
fn ports(image: &mut Image, plan: &Plan, ports: &[Port], feeds: &[Feed]) -> Result<(u64, u64), LibraryError> {
    let feeds = feeds.iter().copied().chain(std::iter::repeat(Feed::Image));
    let list = ports.iter().zip(feeds).map(|(p, feed)| port(image, plan, p, feed)).collect::<Result<Vec<_>, _>>()?;
    Ok((list.len() as u64, image.records(&list)))
}

/// A record with a tensor's name, the texts of the header and its number of elements.
fn tensor(image: &mut Image, name: &str, dims: &[usize]) -> records::Port {
    records::Port {
        name: image.text(name.as_bytes()),
        entry: image.text(store::entry(name).as_bytes()),
        shape: image.text(store::shape_entry(dims).as_bytes()),
        sum: image.text(store::sum_entry(name).as_bytes()),
        elements: dims.iter().product::<usize>() as u64,
        ..records::Port::default()
    }
}

fn port(image: &mut Image, plan: &Plan, port: &Port, feed: Feed) -> Result<records::Port, LibraryError> {
    let rank = port.dims.len();
    if rank > RANK || port.elements() == 0 {
        return Err(LibraryError::Limit(format!(
            "{} has the shape {:?}: a library cannot hold it",
            port.name, port.dims
        )));
    }
    let place = place(plan.buffers[port.buffer].place);
    let (feed, value) = match feed {
        Feed::Image => (0, 0.0),
        Feed::Labels => (1, 0.0),
        Feed::Key => (2, 0.0),
        Feed::Value(v) => (3, v),
        Feed::Rate(v) => (4, v),
        Feed::Step => (5, 0.0),
    };
    let (mut sizes, mut strides) = ([1; RANK], [0; RANK]);
    for (i, &d) in port.order.iter().enumerate() {
        sizes[RANK - rank + i] = port.dims[d] as u64;
        strides[RANK - rank + i] = port.dims[d + 1..].iter().product::<usize>() as u64;
    }
    let dims: Vec<u64> = port.dims.iter().map(|&d| d as u64).collect();
    Ok(records::Port {
        kind: place.kind,
        offset: place.offset,
        batched: u64::from(port.batched),
        feed,
        value: f64::to_bits(value),
        rank: rank as u64,
        dims_at: image.list(&dims),
        sizes,
        strides,
        ..tensor(image, &port.name, &port.dims)
    })
}

/// The shape of pictures, and the fitted numbers that come with the weights.
fn preparation(image: &mut Image, record: &mut records::Plan, extras: &Extras) {
    let Some(picture) = extras.picture else { return };
    [record.channels, record.height, record.width] = picture.map(|size| size as u64);
    let pictures = extras.reading;
    record.crop = u64::from(pictures.resize == Resize::Crop);
    record.rec709 = u64::from(pictures.grey == Grey::Rec709);
    record.background = pictures.background.iter().fold(0, |all, &c| all << 8 | u64::from(c));
    let size: usize = picture.iter().product();
    record.staging = ((4 * size).next_multiple_of(64) + extras.staging) as u64;
    let Some(preparation) = &extras.weights.preparation else { return };
    let mut list = Vec::new();
    let mut end = 0;
    for (name, dims, data) in preparation.numbers() {
        list.push(records::Port { offset: end, ..tensor(image, &name, &dims) });
        end += (4 * data.len()).next_multiple_of(64) as u64;
    }
    (record.fitted, record.fitted_at, record.fitted_bytes) = (list.len() as u64, image.records(&list), end);
    record.steps = preparation.spec().len() as u64;
    let store = extras.weights.store();
    let spec = store.metadata.get("prepare").map_or("", String::as_str);
    record.prepare_text = image.text(store::metadata_entry("prepare", spec).as_bytes());
}
