//! What is written beside the code: the C header, which says of every function what it does, and example programs.
//! They are templates with the network's names and sizes filled in.

use super::image;
use super::systems::System;
use ninc_runtime::plan::{Plan, Port};

/// Names of files and their templates. `@name@` in names is the network's.
const FILES: [(&str, &str); 3] = [
    ("@name@.h", include_str!("templates/header.h")),
    ("@name@.pc", include_str!("templates/pkgconfig.pc")),
    ("CMakeLists.txt", include_str!("templates/CMakeLists.txt")),
];
/// Names of files and their templates, for networks that take decoded pictures.
const EXAMPLES: [(&str, &str); 3] = [
    ("classify.c", include_str!("templates/classify.c")),
    ("classify.rs", include_str!("templates/classify_rs.txt")),
    ("classify.py", include_str!("templates/classify.py")),
];

/// A program that reads the launch table for OpenCL.
const OPENCL: [(&str, &str); 1] = [("opencl.py", include_str!("templates/opencl.py"))];

/// Words that would clash with the name of a type, a header or a library in C and C++: keywords, the standard headers
/// and what they declare, system libraries, families of functions (`pthread_create`), and the names in `classify.c`.
const TAKEN: &str = include_str!("taken.txt");

/// Makes a name for C: letters, digits and `_`, not a digit first; a word that is taken gets a `_` behind it.
pub fn identifier(name: &str) -> String {
    let mut id: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if id.starts_with(|c: char| c.is_ascii_digit()) || id.is_empty() {
        id.insert(0, '_');
    }
    if TAKEN.split_whitespace().any(|word| word == id) {
        id.push('_');
    }
    id
}

/// What the header says about a network.
pub struct About<'a> {
    /// The network's name, as in its text.
    pub name: &'a str,
    /// The system that the library is for.
    pub system: System,
    /// Its plan, which says the inputs and outputs.
    pub plan: &'a Plan,
    /// Channels, height and width of pictures, if the network takes any.
    pub picture: Option<[usize; 3]>,
    /// The number of classes.
    pub classes: usize,
    /// Whether the weights are inside the library.
    pub embedded: bool,
    /// Whether there is a training step.
    pub training: bool,
    /// Whether there are kernels for OpenCL.
    pub opencl: bool,
    /// The version of ninc.
    pub version: &'a str,
}

impl About<'_> {
    /// Channels, height and width, where decoded pictures fit: those are grey or of red, green and blue.
    fn decoded(&self) -> Option<[usize; 3]> {
        self.picture.filter(|[channels, ..]| matches!(channels, 1 | 3))
    }
}

/// All such files.
pub fn write(about: &About) -> Vec<(String, Vec<u8>)> {
    let examples = if about.decoded().is_some() { &EXAMPLES[..] } else { &[] };
    let opencl = if about.opencl { &OPENCL[..] } else { &[] };
    let name = identifier(about.name);
    let file = |(path, text): &(&str, &str)| (path.replace("@name@", &name), fill(text, about).into_bytes());
    FILES.iter().chain(examples).chain(opencl).map(file).collect()
}

fn fill(text: &str, about: &About) -> String {
    let name = identifier(about.name);
    let shape = |port: &Port| {
        let dims: Vec<String> = port.dims.iter().map(|d| d.to_string()).collect();
        let per = if port.batched { "n x " } else { "" };
        format!("{} ({}{}, {})", port.name, per, dims.join(" x "), port.dtype.c_type())
    };
    let list = |ports: &[Port]| ports.iter().map(|p| format!(" *   {}", shape(p))).collect::<Vec<_>>().join("\n");
    let size = |port: Option<&Port>| port.map_or(0, Port::elements).to_string();
    let [channels, height, width] = about.picture.unwrap_or_default();
    let text = section(text, "embedded", about.embedded);
    let text = section(&text, "training", about.training);
    let few = about.plan.small_batch.as_ref().map(|(most, _)| most);
    let text = section(&text, "few", few.is_some());
    let text = section(&text, "external", !about.embedded);
    let text = section(&text, "bytes", about.picture.is_some());
    let text = section(&text, "pictures", about.decoded().is_some());
    let text = section(&text, "windows", about.system.windows());
    let link = about.system.link_shared(&name);
    let text = section(&text, "unlinked", link.is_some());
    let [_, archive, shared] = about.system.files(&name);
    let values = [
        ("@archive@", archive),
        ("@shared@", shared),
        ("@link@", link.unwrap_or_default()),
        ("@compile@", about.system.compile_example(&name)),
        ("@threads@", about.system.threads().into()),
        ("@inputs@", list(&about.plan.inputs)),
        ("@outputs@", list(&about.plan.outputs)),
        ("@input_size@", size(about.plan.inputs.first())),
        ("@output_size@", size(about.plan.outputs.first())),
        ("@channels@", channels.to_string()),
        ("@height@", height.to_string()),
        ("@width@", width.to_string()),
        ("@classes@", about.classes.to_string()),
        ("@chunk@", image::CHUNK.to_string()),
        ("@few@", few.map(usize::to_string).unwrap_or_default()),
        ("@weights@", if about.embedded { String::new() } else { format!("{name}.safetensors ") }),
        ("@py_weights@", if about.embedded { "" } else { "weights, " }.into()),
        ("@WEIGHTS@", if about.embedded { "" } else { "WEIGHTS " }.into()),
        ("@first@", if about.embedded { 1 } else { 2 }.to_string()),
        ("@version@", about.version.to_string()),
        ("@NAME@", name.to_uppercase()),
        ("@name@", name),
    ];
    values.into_iter().fold(text, |text, (tag, value)| text.replace(tag, &value))
}

/// Keeps or drops what stands between the tag's marks, wherever it does.
fn section(text: &str, tag: &str, keep: bool) -> String {
    let (begin, end) = (format!("/*{tag}<*/\n"), format!("/*>{tag}*/\n"));
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(&begin) {
        let (inside, after) = behind.split_once(&end).unwrap_or((behind, ""));
        out += before;
        out += if keep { inside } else { "" };
        rest = after;
    }
    out + rest
}
