//! A compiled program as data: launches, and every buffer's place, decided at compile time.

use crate::shares::{self, Shares};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a buffer lies. All offsets are bytes, multiples of 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Kept between runs.
    Persistent {
        /// Bytes from the start of persistent memory.
        offset: usize,
    },
    /// In the arena's part of fixed size.
    Fixed {
        /// Bytes from the start of the arena.
        offset: usize,
    },
    /// In the arena's part that grows with the batch: `offset · batch` behind the fixed part.
    PerImage {
        /// Bytes for one image.
        offset: usize,
    },
}

/// Memory that kernels read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Display name.
    pub name: String,
    /// Bytes: `fixed + per_image · batch`; one of the two is 0. Unpadded.
    pub fixed: usize,
    /// Bytes for each image.
    pub per_image: usize,
    /// Where it lies.
    pub place: Place,
}

/// How many iterations a launch's parallel loop has: `fixed + each · ceil(batch / images)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iterations {
    /// Iterations of any batch.
    pub fixed: usize,
    /// Iterations for each group of images.
    pub each: usize,
    /// Images of a group.
    pub images: usize,
}

impl Iterations {
    /// Returns the iterations for a batch of this many images.
    pub fn count(&self, batch: usize) -> usize {
        self.fixed + self.each * batch.div_ceil(self.images)
    }
}

/// One run of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Index of the kernel.
    pub kernel: usize,
    /// Indices of buffers.
    pub buffers: Vec<usize>,
    /// Iterations of its parallel loop.
    pub iterations: Iterations,
}

/// What the plan knows of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Display name.
    pub name: String,
    /// Scratch memory per thread.
    pub scratch_bytes: usize,
}

/// What an input stands for in a run. Names are the caller's; who feeds a program goes by the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The images that the network sees.
    Image,
    /// The class of each image.
    Labels,
    /// With `mixup`: the class of the image that each is mixed with.
    Partners,
    /// With `mixup`: the weight of the own label, from 0 to 1.
    Share,
    /// With `mixup`: the weight of the partner's label, 1 minus the share.
    Rest,
    /// With `class_weights`: what the loss of each image is multiplied by.
    Weights,
    /// With `class_weights` and `mixup`: what the loss of each image's partner is multiplied by.
    PartnerWeights,
    /// Four words from which all random numbers of the step are drawn: seed and step.
    Key,
    /// A number of the optimiser.
    Hyper(Hyper),
    /// A value without a meaning to a training: outputs, parameters, inputs of graphs that are not networks.
    Tensor,
}

/// A number that the optimiser takes in each step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hyper {
    /// The learning rate.
    Rate,
    /// Weight of the last update in the next.
    Momentum,
    /// Weight decay.
    Decay,
    /// Adam: weight of the past in the average of gradients.
    Beta1,
    /// Adam: weight of the past in the average of squared gradients.
    Beta2,
    /// Added to the root by which Adam and RMSProp divide.
    Epsilon,
    /// RMSProp: weight of the past in the average of squared gradients.
    Alpha,
    /// The number of the step, from 1.
    Step,
    /// Bound on the norm of all gradients.
    Clip,
    /// The learning rate of convolutions' weights, where they have an optimiser of their own.
    ConvolutionRate,
    /// Epochs that are done, fractions included.
    Epochs,
    /// Look-ahead: weight of the weights in their average; 0 in steps without one.
    Mix,
    /// Look-ahead: 1 in steps after which the average takes the weights' place, else 0.
    Sync,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Role; 22] = [
        Role::Image,
        Role::Labels,
        Role::Partners,
        Role::Share,
        Role::Rest,
        Role::Weights,
        Role::PartnerWeights,
        Role::Key,
        Role::Hyper(Hyper::Rate),
        Role::Hyper(Hyper::Momentum),
        Role::Hyper(Hyper::Decay),
        Role::Hyper(Hyper::Beta1),
        Role::Hyper(Hyper::Beta2),
        Role::Hyper(Hyper::Epsilon),
        Role::Hyper(Hyper::Alpha),
        Role::Hyper(Hyper::Step),
        Role::Hyper(Hyper::Clip),
        Role::Hyper(Hyper::ConvolutionRate),
        Role::Hyper(Hyper::Epochs),
        Role::Hyper(Hyper::Mix),
        Role::Hyper(Hyper::Sync),
        Role::Tensor,
    ];

    /// The word for it in texts and messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Image => "image",
            Role::Labels => "labels",
            Role::Partners => "partners",
            Role::Share => "share",
            Role::Rest => "rest",
            Role::Weights => "weights",
            Role::PartnerWeights => "partner_weights",
            Role::Key => "key",
            Role::Hyper(Hyper::Rate) => "rate",
            Role::Hyper(Hyper::Momentum) => "momentum",
            Role::Hyper(Hyper::Decay) => "decay",
            Role::Hyper(Hyper::Beta1) => "beta1",
            Role::Hyper(Hyper::Beta2) => "beta2",
            Role::Hyper(Hyper::Epsilon) => "epsilon",
            Role::Hyper(Hyper::Alpha) => "alpha",
            Role::Hyper(Hyper::Step) => "step",
            Role::Hyper(Hyper::Clip) => "clip",
            Role::Hyper(Hyper::ConvolutionRate) => "convolution_rate",
            Role::Hyper(Hyper::Epochs) => "epochs",
            Role::Hyper(Hyper::Mix) => "mix",
            Role::Hyper(Hyper::Sync) => "sync",
            Role::Tensor => "tensor",
        }
    }
}

/// What an element of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// Float numbers of 32 bits.
    F32,
    /// Labels and random keys; never differentiated.
    I32,
    /// Bytes, 0 to 255: pictures before anything is done to them.
    U8,
}

impl DType {
    /// Every type of elements.
    pub const ALL: [DType; 3] = [DType::F32, DType::I32, DType::U8];

    /// The word for it in texts.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::U8 => "u8",
        }
    }

    /// Bytes of an element in memory.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::U8 => 1,
        }
    }

    /// The word for it in C.
    pub fn c_type(self) -> &'static str {
        match self {
            DType::F32 => "float",
            DType::I32 => "int32_t",
            DType::U8 => "uint8_t",
        }
    }

    /// The word for it in NumPy.
    pub fn numpy(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::I32 => "int32",
            DType::U8 => "uint8",
        }
    }

    /// What its elements are called in messages.
    pub fn elements(self) -> &'static str {
        match self {
            DType::F32 => "floats",
            DType::I32 => "integers",
            DType::U8 => "bytes",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value that callers feed, fetch, read or write, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The name that callers use.
    pub name: String,
    /// What an input stands for; [`Role::Tensor`] for outputs and parameters.
    pub role: Role,
    /// What its elements are; parameters and outputs have no bytes.
    pub dtype: DType,
    /// One per image?
    pub batched: bool,
    /// Logical dimensions (per image).
    pub dims: Vec<usize>,
    /// Logical dimension at each memory position, outermost first.
    pub order: Vec<usize>,
    /// Index of the buffer.
    pub buffer: usize,
}

impl Port {
    /// Elements (per image).
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Bytes in memory (per image).
    pub fn bytes(&self) -> usize {
        self.dtype.bytes() * self.elements()
    }
}

/// When kernels run, and where values live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The program's name.
    pub name: String,
    /// All buffers, by index.
    pub buffers: Vec<Buffer>,
    /// All kernels, by index.
    pub kernels: Vec<Kernel>,
    /// Run after parameters were written from outside; in training at the start of each step, because a step changes
    /// them.
    pub prepare: Vec<Launch>,
    /// Is `prepare` part of each run?
    pub prepare_each_run: bool,
    /// The launches of a run, in order.
    pub launches: Vec<Launch>,
    /// The most images in one run; a larger batch runs in groups of this many. `None`: the whole batch at once.
    pub group: Option<usize>,
    /// With groups: launches from this one on run once, after those before it have run for the last group.
    pub finish: usize,
    /// For devices that share a batch: launches and buffers; after the launch the buffer holds the sum of floats over
    /// the device's images, which an all-reduce must complete.
    pub all_reduces: Vec<(usize, usize)>,
    /// Launches and buffers that they add to, but for the run with the first image of the batch, which overwrites them.
    pub accumulates: Vec<(usize, usize)>,
    /// How sums over the batch are cut into shares; `None`: they are made in groups, or at once.
    pub shares: Option<Shares>,
    /// What callers must feed.
    pub inputs: Vec<Port>,
    /// What callers can ask for.
    pub outputs: Vec<Port>,
    /// Parameters, with the optimiser's states and running statistics.
    pub params: Vec<Port>,
    /// Bytes of memory that is kept between runs.
    pub persistent_bytes: usize,
    /// Bytes of the arena's part of fixed size.
    pub fixed_bytes: usize,
    /// Bytes of the arena for each image.
    pub image_bytes: usize,
    /// An alternative plan for batches of at most this many images; it computes the same values. It agrees with this
    /// plan in all that outlives a run: buffers' numbers, kernels, preparations and persistent places.
    pub small_batch: Option<(usize, Arc<Plan>)>,
}

/// Which memory a buffer lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Kept between runs.
    Persistent,
    /// Used within a run.
    Arena,
}

impl Plan {
    /// Iterates over preparations and launches in the order in which they run. Profiles number them so.
    pub fn every_launch(&self) -> impl Iterator<Item = &Launch> {
        self.prepare.iter().chain(&self.launches)
    }

    /// Returns the number of images in one run of the launches.
    pub fn group_of(&self, batch: usize) -> usize {
        let group = match &self.shares {
            Some(shares) if !shares.whole => Some(shares.group.unwrap_or(usize::MAX).min(shares::images(batch))),
            _ => self.group,
        };
        group.map_or(batch, |g| g.clamp(1, batch.max(1)))
    }

    /// Returns where a buffer starts in a run of `images` images.
    pub fn start(&self, buffer: usize, images: usize) -> (Home, usize) {
        match self.buffers[buffer].place {
            Place::Persistent { offset } => (Home::Persistent, offset),
            Place::Fixed { offset } => (Home::Arena, offset),
            Place::PerImage { offset } => (Home::Arena, self.fixed_bytes + offset * images),
        }
    }

    /// Returns a buffer's bytes in a run of `images` images.
    pub fn bytes(&self, buffer: usize, images: usize) -> usize {
        let buffer = &self.buffers[buffer];
        buffer.fixed + buffer.per_image * images
    }

    /// Returns the bytes of the arena for a run of `images` images; `None` if no memory is that large.
    pub fn room(&self, images: usize) -> Option<usize> {
        let bytes = self.image_bytes.checked_mul(images)?.checked_add(self.fixed_bytes)?;
        Some(bytes).filter(|&b| b < isize::MAX as usize / 2)
    }

    /// Pairs kernel names with the times of all launches.
    pub fn profile(&self, times: &[Duration]) -> Vec<(String, Duration)> {
        let name = |launch: &Launch| self.kernels[launch.kernel].name.clone();
        self.every_launch().zip(times).map(|(launch, time)| (name(launch), *time)).collect()
    }

    /// Returns the plan for a batch: its size alone decides.
    pub fn for_batch(&self, batch: usize) -> &Plan {
        match &self.small_batch {
            Some((most, plan)) if batch <= *most => plan,
            _ => self,
        }
    }

    /// Returns the bytes of the arena for a batch (of one group, if the plan has groups).
    pub fn arena_bytes(&self, batch: usize) -> usize {
        let plan = self.for_batch(batch);
        plan.fixed_bytes + plan.image_bytes * plan.group_of(batch)
    }
}
