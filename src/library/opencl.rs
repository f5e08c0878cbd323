//! The launch table beside `NAME.cl`: all that a program needs to run the kernels by OpenCL, as JSON that says how to
//! read it.

use ninc_runtime::opencl::Source;
use ninc_runtime::plan::{Launch, Place, Plan, Port};
use serde_json::{Value, json};

/// Items of a group where the kernel is not written for groups.
const ITEMS: usize = 64;

/// What a reader has to know; part of the file.
const HOW: [&str; 14] = [
    "Build `source` with `build_options`. With IDX=long instead of IDX=int indices have 64 bits: needed where the \
     arena, for the batch in use, and the persistent memory have 2 GiB or more together. Where the device \
     has it, add -cl-fp32-correctly-rounded-divide-sqrt for the bits that `ninc run --device opencl` gives.",
    "Every value {fixed, per_image} below is fixed + per_image * n, where n is the number of images of the run.",
    "Make two memory objects, filled with zeros: `persistent` of memory.persistent bytes and `arena` of \
     memory.arena bytes.",
    "A buffer lies in the memory that it names, `offset` bytes from its start, and has `bytes` bytes. Several \
     buffers share a place in the arena at different times: write inputs just before the launches, read \
     outputs just after them.",
    "Inputs, outputs and parameters name their buffer by its index. Numbers are 32 bits each; `one_per_image`: n \
     times `shape`, one image after the other. `order` is how a value lies in memory: its dimensions (0 the \
     first of `shape`), the slowest first. [0, 1, 2] is the order of `shape` itself; [1, 2, 0] of an image \
     [channel, row, column] keeps the channels of a pixel together.",
    "Parameters are the tensors of the weights file with their names and shapes; bring them into `order` and \
     write them to their buffers. Inputs are prepared images, as `prepare` in the library's own JSON file \
     says.",
    "After parameters were written, run the launches of `prepare` once, in their order, with n = 1. Then, for \
     each batch, write the inputs, run `launches` in their order, and read the outputs. An in-order queue \
     needs no further waiting.",
    "A launch has one dimension. `iterations` is fixed + each * ceil(n / images). Where `groups` is \"iterations\", \
     launch that many groups of `local_size` items, neither more nor fewer.",
    "Where `groups` is \"any\", any number of groups of any size will do, because the items share the iterations: \
     about as many items as iterations, in groups of `local_size`, at most 65536 groups.",
    "A launch without iterations is left out.",
    "Arguments of a kernel, in this order: for each of `buffers` the memory object (cl_mem) and the buffer's \
     offset in bytes (cl_long);",
    "then three cl_long: n, the number of the first image (0), and n again;",
    "then, where `workspace` is not 0, a memory object of `workspace` bytes for every item that is launched; \
     launches may share it.",
    "All of this is for inference; `n` may be any number above 0 for which the memory suffices.",
];

/// The table of a program for OpenCL.
pub fn table(name: &str, plan: &Plan, source: &Source) -> String {
    let list = |launches: &[Launch]| launches.iter().map(|l| launch(l, source)).collect::<Vec<_>>();
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>();
    let value = json!({
        "network": plan.name,
        "ninc": env!("CARGO_PKG_VERSION"),
        "how": HOW,
        "source": format!("{name}.cl"),
        "build_options": "-cl-std=CL1.2 -D IDX=int",
        "memory": {
            "persistent": size(plan.persistent_bytes, 0),
            "arena": size(plan.fixed_bytes, plan.image_bytes),
        },
        "buffers": plan.buffers.iter().map(|b| {
            let (memory, offset) = place(plan, b.place);
            json!({ "name": b.name, "memory": memory, "offset": offset, "bytes": size(b.fixed, b.per_image) })
        }).collect::<Vec<_>>(),
        "inputs": ports(&plan.inputs),
        "outputs": ports(&plan.outputs),
        "parameters": ports(&plan.params),
        "prepare": list(&plan.prepare),
        "launches": list(&plan.launches),
    });
    serde_json::to_string_pretty(&value).expect("plain data becomes JSON") + "\n"
}

fn size(fixed: usize, per_image: usize) -> Value {
    json!({ "fixed": fixed, "per_image": per_image })
}

/// The memory that a place is in, and its distance from the start.
fn place(plan: &Plan, place: Place) -> (&'static str, Value) {
    match place {
        Place::Persistent { offset } => ("persistent", size(offset, 0)),
        Place::Fixed { offset } => ("arena", size(offset, 0)),
        Place::PerImage { offset } => ("arena", size(plan.fixed_bytes, offset)),
    }
}

fn port(port: &Port) -> Value {
    json!({
        "name": port.name,
        "type": port.dtype.numpy(),
        "shape": port.dims,
        "order": port.order,
        "one_per_image": port.batched,
        "buffer": port.buffer,
    })
}

fn launch(launch: &Launch, source: &Source) -> Value {
    let entry = &source.kernels[launch.kernel];
    let iterations = launch.iterations;
    json!({
        "kernel": entry.name,
        "groups": if entry.items.is_some() { "iterations" } else { "any" },
        "local_size": entry.items.unwrap_or(ITEMS),
        "iterations": { "fixed": iterations.fixed, "each": iterations.each, "images": iterations.images },
        "buffers": launch.buffers,
        "workspace": entry.workspace_bytes,
    })
}
