//! Whole files of each kind, from which damaged ones are made: the odd inputs of `tests/data/odd`, and small ones made
//! here.

use ninc::front;
use ninc::io::onnx::{Export, export as export_onnx};
use ninc::ops::Operator;
use ninc_runtime::Tensor;
use ninc_runtime::data::prepare::{Form, Preparation};
use ninc_runtime::store::{Numbers, Store};
use ninc_runtime::weights::Weights;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Seeds of a kind.
pub fn of(kind: &str) -> Vec<Vec<u8>> {
    match kind {
        "jpeg" => odd(&["jpg", "jpeg"]),
        "tiff" => odd(&["tif", "tiff"]),
        "png" | "gif" | "webp" | "bmp" | "qoi" | "npy" | "npz" => odd(&[kind]),
        "idx" => {
            let plain = [1, 2, 3].map(idx);
            let packed = plain.each_ref().map(|bytes| gzip(bytes));
            plain.into_iter().chain(packed).collect()
        }
        "cifar" => vec![(0..3074).map(|i| (i % 100) as u8).collect(), vec![7; 2 * 3074]],
        "mat" => {
            let plain = mat(false);
            vec![plain, mat(true)]
        }
        "safetensors" => weights(),
        "checkpoint" => vec![read(&folder().join("checkpoint/out/small.checkpoint"))],
        "onnx" => networks(),
        "prototxt" => {
            let data = r#"layer { name: "d" type: "Data" top: "data" top: "label"
                transform_param { crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 } }
                layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3
                weight_filler { type: "msra" variance_norm: AVERAGE } } include { phase: TEST } }
                layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }"#;
            let files = ["new", "old"].map(|name| read(&folder().join(format!("caffe/{name}.prototxt"))));
            files.into_iter().chain([data.as_bytes().to_vec()]).collect()
        }
        "caffemodel" => ["new", "old"].map(|name| read(&folder().join(format!("caffe/{name}.caffemodel")))).into(),
        "torch" => ["state.pt", "checkpoint.pth.tar", "net.pt", "module.pt"]
            .map(|name| read(&folder().join("torch").join(name)))
            .into(),
        "tar" => {
            let plain = tar();
            let packed = gzip(&plain);
            vec![plain, packed]
        }
        _ => unreachable!("a kind without seeds"),
    }
}

/// Files of other programs, and of ours with each kind of layer.
fn networks() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> =
        ["small", "external", "refused", "moves"].map(|name| read(&folder().join(format!("onnx/{name}.onnx")))).into();
    let layers = [
        "mlpconv(kernel = 3, pad = 1, channels = [5, 4]) |> max_pool(kernel = 3, stride = 2) |> batch_norm |> prelu",
        "pad(top = 1) |> conv(channels = 4, kernel = 2, groups = 2) |> avg_pool(kernel = 2, pad = 1) |> lrn(size = 4)",
        "maxout(pieces = 2) |> gelu |> silu |> dropout(0.5) |> global_max_pool |> linear(features = 3) |> log_softmax",
    ];
    for (layers, opset) in layers.into_iter().zip([13, 17, 22]) {
        let text = format!("network n {{ input image: [4, 6, 5]  image |> {layers} }}");
        let model = front::load(&text, "n", &[]).0.expect("a model");
        let parameter = |id| match model.graph.op(id) {
            Operator::Param(p) => {
                Some((p.name.clone(), Tensor::new(&p.dims, vec![0.5; p.dims.iter().product()]).ok()?))
            }
            _ => None,
        };
        let tensors = model.graph.ids().into_iter().filter_map(parameter).collect();
        let (graph, metadata) = (&model.graph, vec![("classes".into(), "[]".into())]);
        let export = Export { model: &model, graph, tensors: &tensors, coded: None, opset, metadata };
        seeds.push(export_onnx(&export).expect("exported"));
    }
    seeds
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a seed")
}

/// The odd inputs whose names end so, in the order of their names.
fn odd(endings: &[&str]) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder().join("odd")).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| {
        path.extension().is_some_and(|e| endings.contains(&e.to_string_lossy().to_lowercase().as_str()))
    });
    paths.sort();
    let seeds: Vec<_> = paths.iter().map(|path| read(path)).filter(|bytes| !bytes.is_empty()).collect();
    assert!(!seeds.is_empty(), "{endings:?}");
    seeds
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(vec![], flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn idx(rank: u8) -> Vec<u8> {
    let dims = &[5u32, 4, 3][..rank.into()];
    let mut bytes = vec![0, 0, 8, rank];
    bytes.extend(dims.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend((0..dims.iter().product::<u32>()).map(|i| i as u8));
    bytes
}

/// An element of a MAT file.
fn element(kind: u32, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (contents.len() as u32).to_le_bytes()].concat();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// An array of a MAT file: its class, and the type and bytes of its values.
fn matrix(name: &str, class: u32, dims: [u32; 2], kind: u32, values: &[u8]) -> Vec<u8> {
    let flags = [class.to_le_bytes(), [0; 4]].concat();
    let dims = dims.map(u32::to_le_bytes).concat();
    let parts = [element(6, &flags), element(5, &dims), element(1, name.as_bytes()), element(kind, values)];
    element(14, &parts.concat())
}

fn mat(packed: bool) -> Vec<u8> {
    let doubles: Vec<u8> = [1.0f64, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut bytes = [&b"MATLAB 5.0 MAT-file"[..], &[b' '; 97], &[0; 8], b"\0\x01IM"].concat();
    for array in [
        matrix("X", 9, [2, 6], 2, &[7; 12]),
        matrix("y", 6, [3, 1], 9, &doubles),
        matrix("n", 12, [1, 2], 5, &[1, 0, 0, 0, 2, 0, 0, 0]),
        matrix("text", 4, [1, 2], 2, b"ab"),
    ] {
        match packed {
            true => {
                let packed = zlib(&array);
                bytes.extend(15u32.to_le_bytes());
                bytes.extend((packed.len() as u32).to_le_bytes());
                bytes.extend(packed);
            }
            false => bytes.extend(array),
        }
    }
    bytes
}

fn tensor(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    Tensor::new(dims, (0..count).map(|i| i as f32 / 8.0 - 1.0).collect()).expect("fits")
}

fn weights() -> Vec<Vec<u8>> {
    let tensors = [("conv1.weight", &[2, 1, 3, 3][..]), ("conv1.bias", &[2]), ("n", &[])];
    let tensors = tensors.map(|(name, dims)| (name.to_string(), tensor(dims))).into();
    let steps = serde_json::from_str(r#"[{"scale":{"factor":0.0039}}]"#).expect("a step");
    let factor = Tensor::scalar(0.0039);
    let preparation = Form::new(steps, [1, 4, 4]).and_then(|f| Preparation::from_tensors(f, |_| Some(factor.clone())));
    let preparation = Some(preparation.expect("one number").of_inputs(None, None));
    let ours = Weights { model: "m".into(), tensors, preparation, classes: vec!["a".into()], ..Weights::default() };
    let foreign = |dtype: &str, bytes: usize| {
        let header =
            format!(
                r#"{{"__metadata__":{{"format":"pt"}},"a":{{"dtype":"{dtype}","shape":[3,2],"data_offsets":[0,{}]}},"#,
                6 * bytes
            ) + &format!(r#""b":{{"dtype":"I64","shape":[],"data_offsets":[{},{}]}}}}"#, 6 * bytes, 6 * bytes + 8);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![1; 6 * bytes + 8]].concat()
    };
    let mut seeds = vec![ours.store().to_bytes(), ours.store().to_bytes_of(Numbers::F16)];
    seeds.extend([
        foreign("F32", 4),
        foreign("F16", 2),
        foreign("BF16", 2),
        foreign("F64", 8),
        Store::default().to_bytes(),
    ]);
    seeds
}

/// A tar archive as GNU's program writes it, with a long name in front of one that nobody wants.
fn tar() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut member = |kind: u8, name: &str, contents: &[u8]| {
        let mut header = [0u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[156] = kind;
        header[257..265].copy_from_slice(b"ustar  \0");
        bytes.extend(header);
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    };
    member(b'L', "././@LongLink", &[b'n'; 120]);
    member(b'0', "n", b"something else");
    member(b'x', "h", b"20 path=a/first.bin\n");
    member(b'0', "elsewhere", b"first");
    member(b'0', "./a/second.bin", &[9; 600]);
    bytes.extend([0; 1024]);
    super::mutate::tar(&mut bytes);
    bytes
}
