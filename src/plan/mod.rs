//! From a program (kernels, buffers, launches) to a plan: every buffer gets its place, every launch its number of
//! iterations.
//!
//! Parameters and what is prepared from them are persistent. Everything else shares one arena, whose buffers lie on top
//! of each other where their lifetimes allow it (`arena`). A parameter's new value takes the parameter's place if
//! nothing reads the old one any more (`update`), otherwise a copy at the end of the run brings it there.

use crate::kernel::interp::scratch_offsets;
use crate::kernel::ir::{Access, EntityRef, Module, PrimaryMap};
use crate::kernel::verify::verify;
use crate::lower::{self, Buffer, BufferId, Origins, ProgramBuilder, Role};
use crate::verified::Verified;
use ninc_runtime::plan::{self as runtime, Kernel, Launch, Place, Plan, Port};
use std::sync::Arc;

mod arena;
pub mod error;
mod iterations;
mod phases;
mod share;
pub mod text;
mod update;

pub use arena::{Lifetime, assign};
pub use error::PlanError;
pub use iterations::fit as fit_iterations;

/// The largest batch that runs by the launches for small batches. Larger ones give each of a few threads images of its
/// own.
pub const SMALL_BATCH: usize = 8;

/// Values by name; `Port::buffer` is the number of the program's buffer.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    /// Values that callers feed.
    pub inputs: Vec<Port>,
    /// Values that callers can fetch.
    pub outputs: Vec<Port>,
    /// Values that are kept between runs.
    pub params: Vec<Port>,
}

/// How a program will run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The name of the plan.
    pub name: String,
    /// Whether parameters change in each run: training.
    pub prepare_each_run: bool,
    /// The most images in one run of the launches: of a program without updates, or of a training step in groups or
    /// shares, in place of what fits.
    pub group: Option<usize>,
    /// Bytes of the last level of cache: the program runs in groups of images whose arena fits about this many, if the
    /// launches allow it. `None`: all images at once, or those of a share.
    pub cache: Option<usize>,
    /// Whether several devices share each batch.
    pub shared: bool,
    /// Whether a training step's sums over the batch are made share by share, in place of groups that fit `cache`.
    pub in_shares: bool,
    /// A parameter and the value that it has after the run.
    pub updates: Vec<(BufferId, BufferId)>,
}

/// Decides all places. Errors name the buffer or kernel that breaks a rule; they are mistakes of recipes, not of users.
pub fn plan(
    mut builder: ProgramBuilder,
    ports: Ports,
    options: Options,
) -> Result<(Plan, Verified<Module>, Origins), PlanError> {
    check_launches(&builder)?;
    if !options.updates.is_empty() && !builder.prepare.is_empty() && !options.prepare_each_run {
        return Err("a program that changes its parameters must prepare them in each run".into());
    }
    let aliases = update::resolve(&mut builder, &options.updates)?;
    let module = verify(std::mem::take(&mut builder.module))?;
    let small_batch = builder.small_batch.take();
    let step = options.prepare_each_run;
    if options.shared {
        share::sort(&mut builder, &module, &aliases)?;
    }
    let phases = match options.cache {
        _ if options.in_shares => share::in_shares(&mut builder, &module, &aliases)?,
        Some(_) if step => phases::split(&mut builder, &module, &aliases),
        _ => None,
    };
    let mut plan = lay_out(&builder, &module, &ports, &options, &aliases, phases)?;
    if options.in_shares {
        plan.shares = Some(share::shares(&plan, &builder, &module, phases, &options));
        plan.group = None;
    }
    if options.shared {
        share::mark(&mut plan, &builder, &module);
    }
    if let Some(cache) = options.cache.filter(|_| !step && plan.fixed_bytes == 0) {
        plan.group = group_in(cache, plan.image_bytes);
    }
    if let Some(launches) = small_batch {
        if !aliases.is_empty() || options.group.is_some() {
            return Err("a second plan for a program whose images depend on each other".into());
        }
        builder.launches = launches;
        plan.small_batch = Some((SMALL_BATCH, Arc::new(lay_out(&builder, &module, &ports, &options, &aliases, None)?)));
    }
    Ok((plan, module, builder.origins))
}

/// Images whose values fit `cache`: a power of two, not below what keeps threads busy; `None` for images so small that
/// any batch is a group.
fn group_in(cache: usize, image_bytes: usize) -> Option<usize> {
    let most = cache.checked_div(image_bytes)?;
    (most < 1024).then(|| 1 << most.max(32).ilog2())
}

/// The plan of the program's launches. `phases` is the first launch of a training step that runs once, after the last
/// group of images.
fn lay_out(
    builder: &ProgramBuilder,
    module: &Verified<Module>,
    ports: &Ports,
    options: &Options,
    aliases: &[(BufferId, BufferId)],
    phases: Option<usize>,
) -> Result<Plan, PlanError> {
    let finish = phases.unwrap_or(builder.launches.len());
    let grouped = (options.group.is_some() && !options.prepare_each_run) || phases.is_some();
    let lifetimes = lifetimes(builder, module, ports, grouped.then_some(finish), options.in_shares)?;
    let (places, sizes) = place(builder, &lifetimes, aliases);
    let group = match (options.cache, phases) {
        (Some(cache), Some(_)) => options.group.or_else(|| Some(phases::images(sizes[2], cache))),
        // Its sums cannot be cut.
        (_, None) if options.prepare_each_run => None,
        _ => options.group,
    };
    let buffers = builder.buffers.iter().map(|(id, b)| {
        let (place, life) = (places[id], lifetimes[id]);
        // What no launch of this plan uses takes no room.
        let used = life.is_some() || !matches!(place, Place::Fixed { .. } | Place::PerImage { .. });
        let bytes = |elements: usize| if used { elements * b.elem.bytes() } else { 0 };
        runtime::Buffer { name: b.name.clone(), fixed: bytes(b.fixed), per_image: bytes(b.per_image), place }
    });
    let kernels = module.kernels.values().map(|k| Kernel {
        name: k.name.clone(),
        scratch_bytes: scratch_offsets(k.scratch.values().map(|s| (s.elem, s.len))).1,
    });
    Ok(Plan {
        name: options.name.clone(),
        buffers: buffers.collect(),
        kernels: kernels.collect(),
        prepare: launches(&builder.prepare, module)?,
        prepare_each_run: options.prepare_each_run,
        launches: launches(&builder.launches, module)?,
        group,
        finish,
        all_reduces: vec![],
        accumulates: vec![],
        shares: None,
        inputs: ports.inputs.clone(),
        outputs: ports.outputs.clone(),
        params: ports.params.clone(),
        persistent_bytes: sizes[0],
        fixed_bytes: sizes[1],
        image_bytes: sizes[2],
        small_batch: None,
    })
}

fn check_launches(builder: &ProgramBuilder) -> Result<(), PlanError> {
    for launch in builder.prepare.iter().chain(&builder.launches).chain(builder.small_batch.iter().flatten()) {
        let kernel = builder.module.kernels.get(launch.kernel).ok_or("a launch of a kernel that does not exist")?;
        if kernel.buffers.len() != launch.args.len() {
            return Err(format!("kernel {}: {} arguments", kernel.name, launch.args.len()).into());
        }
        for (param, buffer) in kernel.buffers.values().zip(&launch.args) {
            let buffer = builder.buffers.get(*buffer).ok_or("a buffer that does not exist")?;
            if buffer.elem != param.elem {
                return Err(
                    format!("kernel {}: {} for {} has the wrong type", kernel.name, buffer.name, param.name).into()
                );
            }
            if buffer.role == Role::Input && param.access != Access::Read {
                return Err(format!("kernel {} writes the input {}", kernel.name, buffer.name).into());
            }
        }
    }
    Ok(())
}

fn launches(launches: &[lower::Launch], module: &Module) -> Result<Vec<Launch>, PlanError> {
    let launch = |l: &lower::Launch| {
        let kernel = &module.kernels[l.kernel];
        let end = kernel.iterations().ok_or_else(|| format!("kernel {} is not one loop", kernel.name))?;
        let iterations =
            iterations::fit(end).map_err(|error| PlanError::Iterations { kernel: kernel.name.clone(), error })?;
        Ok(Launch { kernel: l.kernel.index(), buffers: l.args.iter().map(|s| s.index()).collect(), iterations })
    };
    launches.iter().map(launch).collect()
}

/// When each buffer of the arena holds something: numbers of launches, `None` for persistent and unused ones.
type Lifetimes = PrimaryMap<BufferId, Option<Lifetime>>;

/// The lifetimes of all buffers. The launches before number `groups` run for each group of images.
fn lifetimes(
    builder: &ProgramBuilder,
    module: &Module,
    ports: &Ports,
    groups: Option<usize>,
    in_shares: bool,
) -> Result<Lifetimes, PlanError> {
    let end = builder.launches.len();
    let mut lives: Lifetimes = builder.buffers.keys().map(|_| None).collect();
    for launch in &builder.prepare {
        if let Some(buffer) = launch.args.iter().find(|b| !persistent(builder, **b)) {
            let name = &builder.buffers[*buffer].name;
            return Err(format!("{name} does not outlive the run, but a preparation uses it").into());
        }
    }
    for (i, launch) in builder.launches.iter().enumerate() {
        let kernel = &module.kernels[launch.kernel];
        for buffer in launch.args.iter().copied().filter(|&b| !persistent(builder, b)) {
            match &mut lives[buffer] {
                Some(life) => life.last = i,
                none => {
                    // Read in its first launch, and not written there under another name either?
                    let params = launch.args.iter().zip(kernel.buffers.values());
                    let mut accesses = params.filter(|(b, _)| **b == buffer).map(|(_, p)| p.access);
                    if builder.buffers[buffer].role == Role::Temp && accesses.all(|a| a == Access::Read) {
                        let (kernel, buffer) = (&kernel.name, &builder.buffers[buffer].name);
                        return Err(format!("kernel {kernel} reads {buffer}, which nothing wrote before").into());
                    }
                    *none = Some(Lifetime { first: i, last: i });
                }
            }
        }
    }
    for (id, buffer) in &builder.buffers {
        if let Some(life) = &mut lives[id]
            && let Some(finish) = groups
            && buffer.fixed > 0
            && life.first < finish
        {
            // Sums over the images are added to in each group.
            *life = Lifetime { first: 0, last: life.last.max(finish) };
        }
    }
    if in_shares {
        // Launches of a sum run for one share after the other: nothing that they use makes room for anything else.
        for sum in &builder.partial_sums {
            let within = |at: usize| (sum.begin..=sum.last).contains(&at);
            for life in lives.values_mut().flatten().filter(|life| within(life.first) || within(life.last)) {
                *life = Lifetime { first: life.first.min(sum.begin), last: life.last.max(sum.last) };
            }
        }
    }
    port_lifetimes(builder, ports, end, &mut lives)?;
    Ok(lives)
}

/// Inputs live from the start of the run on, outputs to its end. Parameters must be persistent.
fn port_lifetimes(builder: &ProgramBuilder, ports: &Ports, end: usize, lives: &mut Lifetimes) -> Result<(), PlanError> {
    for port in &ports.inputs {
        let buffer = buffer_of(builder, port)?;
        if !persistent(builder, buffer) {
            let last = lives[buffer].map_or(0, |l| l.last);
            // A batch in groups is fed in parts, but what all images share is fed again for each group as well.
            lives[buffer] = Some(Lifetime { first: 0, last });
        }
    }
    for port in &ports.outputs {
        let buffer = buffer_of(builder, port)?;
        if !persistent(builder, buffer) {
            let nothing = || PlanError::Rule(format!("nothing writes the output {}", port.name));
            let life = lives[buffer].as_mut().ok_or_else(nothing)?;
            life.last = end;
        }
    }
    for port in &ports.params {
        if !persistent(builder, buffer_of(builder, port)?) {
            return Err(format!("the parameter {} does not outlive the run", port.name).into());
        }
    }
    Ok(())
}

/// Does the buffer keep its values between runs?
fn persistent(builder: &ProgramBuilder, buffer: BufferId) -> bool {
    matches!(builder.buffers[buffer].role, Role::Param | Role::Prepared)
}

fn buffer_of(builder: &ProgramBuilder, port: &Port) -> Result<BufferId, PlanError> {
    let id = BufferId::new(port.buffer);
    let buffer = builder.buffers.get(id).ok_or_else(|| format!("{} has no buffer", port.name))?;
    let elements = if port.batched { buffer.per_image } else { buffer.fixed };
    if elements != port.elements() || buffer.elem.bytes() != port.dtype.bytes() {
        let (name, count, elem) = (&port.name, port.elements(), buffer.elem);
        return Err(format!("{name} has {count} elements of {}, its buffer {elements} of {elem}", port.dtype).into());
    }
    Ok(id)
}

/// Places of all buffers, and the sizes of persistent memory and the arena's two parts.
fn place(
    builder: &ProgramBuilder,
    lifetimes: &Lifetimes,
    aliases: &[(BufferId, BufferId)],
) -> (PrimaryMap<BufferId, Place>, [usize; 3]) {
    let bytes = |elements: usize, buffer: &Buffer| (elements * buffer.elem.bytes()).next_multiple_of(64);
    let mut places: PrimaryMap<_, _> = builder.buffers.keys().map(|_| Place::Persistent { offset: 0 }).collect();
    let mut persistent = 0;
    let (mut fixed, mut image) = (Vec::new(), Vec::new());
    for (id, buffer) in &builder.buffers {
        if matches!(buffer.role, Role::Param | Role::Prepared) {
            places[id] = Place::Persistent { offset: persistent };
            persistent += bytes(buffer.fixed, buffer);
        } else if aliases.iter().all(|a| a.1 != id) {
            let Some(life) = lifetimes[id] else {
                places[id] = Place::Fixed { offset: 0 };
                continue;
            };
            let batched = buffer.per_image > 0;
            let size = bytes(if batched { buffer.per_image } else { buffer.fixed }, buffer);
            if batched { &mut image } else { &mut fixed }.push((id, size, life));
        }
    }
    let fixed_bytes = arena::assign(&fixed, |buffer, offset| places[buffer] = Place::Fixed { offset });
    let image_bytes = arena::assign(&image, |buffer, offset| places[buffer] = Place::PerImage { offset });
    for &(param, value) in aliases {
        places[value] = places[param];
    }
    (places, [persistent, fixed_bytes, image_bytes])
}
