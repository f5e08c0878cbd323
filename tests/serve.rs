//! `ninc serve`: the numbers of `ninc run`, whoever asks at the same time; what is wrong with a request; its end.

mod client;
mod endings;
#[cfg(unix)]
mod files;
mod heads;
mod limits;

use crate::cli::{Place, json};
use client::{Answer, ask, get};
use ninc_runtime::{Tensor, image, npy};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

fn root(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name).display().to_string()
}

/// A server of the program, which ends with this value.
struct Serving {
    place: Place,
    process: Child,
    address: SocketAddr,
    model: String,
    weights: String,
}

impl Serving {
    /// Serves one of the models with the weights beside it.
    fn of(name: &str, options: &[&str]) -> Serving {
        Serving::behind("", name, options)
    }

    /// Serves by a shell that first does `before`, unless that is nothing.
    fn behind(before: &str, name: &str, options: &[&str]) -> Serving {
        let (model, weights) = (root(&format!("models/{name}.nin")), root(&format!("models/{name}.safetensors")));
        let place = Place::new();
        let arguments = [&["serve", &model, "--weights", &weights, "--port", "0"], options].concat();
        let mut command = place.command(&arguments);
        if !before.is_empty() {
            command = Command::new("sh");
            command.args(["-c", &format!("{before}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_ninc")]);
            command.args(&arguments).current_dir(place.path(""));
        }
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ninc starts");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        let (_, url) = line.split_once(" on http://").expect("its address");
        let address = url.split('/').next().expect("a part").parse().expect("an address");
        Serving { place, process, address, model, weights }
    }

    fn classify(&self, query: &str, kind: &str, body: &[u8]) -> Answer {
        ask(self.address, "POST", &format!("/classify{query}"), kind, body)
    }

    /// What `ninc run` says of an input, for each image.
    fn run(&self, input: &str, options: &[&str]) -> Vec<Value> {
        let arguments = [&["run", &self.model, "--weights", &self.weights, "--json", input], options].concat();
        self.place.good(&arguments).lines().map(|line| json(line)["top"].clone()).collect()
    }

    #[cfg(unix)]
    fn signal(&self) {
        // SAFETY: the process is a child that nobody has waited for.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.process.id() as i32, libc::SIGTERM)
        };
    }

    /// Ends it as a terminal does; returns its exit code and what it said.
    #[cfg(unix)]
    fn end(self) -> (Option<i32>, String) {
        self.signal();
        self.ended()
    }

    /// Waits for its end; returns its exit code and what it said.
    #[cfg(unix)]
    fn ended(mut self) -> (Option<i32>, String) {
        let status = self.process.wait().expect("ends");
        let mut said = String::new();
        self.process.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        (status.code(), said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The classes of each image of an answer.
fn tops(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["results"].as_array().expect("a list").iter().map(|image| image["top"].clone()).collect()
}

/// Random bytes of `count` images, as numbers.
fn images(count: usize, size: usize) -> Vec<f32> {
    (0..count * size).map(|i| (i as u32).wrapping_mul(2_654_435_761).rotate_left(9) as u8 as f32).collect()
}

fn nested(values: &[f32], dims: &[usize]) -> Value {
    match dims {
        [] => json!(values[0]),
        [count, inner @ ..] => values.chunks(values.len() / count).map(|part| nested(part, inner)).collect(),
    }
}

#[test]
fn pictures_and_arrays_have_the_numbers_of_run() {
    let serving = Serving::of("digits", &[]);
    let picture = root("tests/data/digit-7.png");
    let bytes = fs::read(&picture).expect("there");
    let expected = serving.run(&picture, &["--top", "10"]);
    for kind in ["image/png", "image/anything", "", "application/x-www-form-urlencoded"] {
        assert_eq!(tops(&serving.classify("?top=10", kind, &bytes)), expected, "{kind}");
    }
    assert_eq!(tops(&serving.classify("", "image/png", &bytes)), serving.run(&picture, &[]));
    let form = |name: &str| format!("--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n");
    let form = [form("a.png").as_bytes(), &bytes, b"\r\n", form("b.png").as_bytes(), &bytes, b"\r\n--b--\r\n"].concat();
    let answer = serving.classify("?top=10", "multipart/form-data; boundary=b", &form);
    assert_eq!(tops(&answer), [&expected[..], &expected].concat());
    assert_eq!(answer.json()["results"][1]["input"], json!("b.png"));

    // Numbers of digits run from 0 to 16. Each image is given to `run` by itself: many at once are another plan.
    let values: Vec<f32> = images(12, 64).iter().map(|v| (v / 16.0).floor()).collect();
    let tensor = Tensor::new(&[12, 1, 8, 8], values.clone()).expect("fits");
    let expected: Vec<Value> = values
        .chunks(64)
        .flat_map(|image| {
            let one = Tensor::new(&[1, 8, 8], image.to_vec()).expect("fits");
            fs::write(serving.place.path("one.npy"), npy::to_bytes(&one)).expect("written");
            serving.run("one.npy", &[])
        })
        .collect();
    let floats: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let list = nested(&values, &[12, 1, 8, 8]).to_string();
    let flat = json!({ "shape": [12, 1, 8, 8], "data": values }).to_string();
    for (kind, body) in [
        ("application/x-npy", npy::to_bytes(&tensor)),
        ("application/octet-stream", npy::to_bytes(&tensor)),
        ("application/octet-stream", floats.clone()),
        ("application/json", list.into_bytes()),
        ("application/json; charset=utf-8", flat.into_bytes()),
    ] {
        assert_eq!(tops(&serving.classify("", kind, &body)), expected, "{kind}");
    }
    fs::write(
        serving.place.path("one.npy"),
        npy::to_bytes(&Tensor::new(&[1, 8, 8], values[..64].to_vec()).expect("fits")),
    )
    .expect("written");
    let raw = serving.run("one.npy", &["--raw"]);
    assert_ne!(raw[0], expected[0]);
    assert_eq!(tops(&serving.classify("?prepared=true", "application/octet-stream", &floats))[0], raw[0]);

    let about = get(serving.address, "/model").json();
    assert_eq!(
        (about["name"].clone(), about["input"].clone(), about["outputs"].clone()),
        (json!("digits"), json!([1, 8, 8]), json!(10))
    );
    assert_eq!(about["classes"].as_array().map(Vec::len), Some(10));
    let page = get(serving.address, "/");
    assert!(page.status == 200 && page.body.contains("<h1 id=\"name\">") && !page.body.contains("@style@"));
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
}

/// Batches of any size, on several threads: each image has the numbers that it has alone.
#[test]
fn many_clients_at_once_get_the_numbers_of_one() {
    for options in [&["--threads", "2"][..], &["--threads", "1", "--batch", "3"]] {
        let serving = Serving::of("cifar10", options);
        let names = ["cat", "ship"].map(|name| root(&format!("tests/data/{name}.png")));
        let pictures = names.clone().map(|name| fs::read(name).expect("there"));
        let expected = names.map(|name| serving.run(&name, &["--top", "10"]));
        let values = images(5, 3072);
        let floats: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let alone: Vec<Value> = floats
            .chunks(4 * 3072)
            .flat_map(|image| tops(&serving.classify("?top=10", "application/octet-stream", image)))
            .collect();
        thread::scope(|scope| {
            for client in 0..8 {
                let (serving, pictures, expected, floats, alone) = (&serving, &pictures, &expected, &floats, &alone);
                scope.spawn(move || {
                    for turn in 0..6 {
                        let which = (client + turn) % 3;
                        let (kind, body, right) = match which {
                            2 => ("application/octet-stream", floats, alone),
                            which => ("image/png", &pictures[which], &expected[which]),
                        };
                        assert_eq!(tops(&serving.classify("?top=10", kind, body)), *right);
                    }
                });
            }
        });
        let metrics = get(serving.address, "/metrics").body;
        assert!(metrics.contains("ninc_requests_total{path=\"/classify\",status=\"200\"} 53\n"), "{metrics}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_one_sentence() {
    let serving = Serving::of("digits", &["--limit", "20KB"]);
    let bytes = fs::read(root("tests/data/digit-7.png")).expect("there");
    let bad = |status: u16, query: &str, kind: &str, body: &[u8], says: &str| {
        let answer = serving.classify(query, kind, body);
        let said = answer.refused(status);
        assert!(said.contains(says) && !said.contains('\n'), "{said}");
        // Who asks over HTTP has no options.
        let text = answer.body.replace("`ninc serve --", "");
        assert!(!text.contains("`--") && !text.contains(" --r"), "{text}");
    };
    bad(400, "", "image/png", &bytes[..bytes.len() / 2], "body is damaged or cut short");
    bad(400, "", "image/png", b"no picture", "body is not a picture in a known format");
    bad(400, "", "image/png", b"", "no body");
    bad(400, "?top=0", "image/png", &bytes, "?top=0 is not a whole number from 1");
    bad(400, "?topp=3", "image/png", &bytes, "the query has \"topp=3\"");
    bad(400, "?prepared=true", "image/png", &bytes, "is for arrays");
    bad(400, "", "application/json", b"[[1, 2], [3]]", "lists of 2 and of 1 elements");
    bad(400, "", "application/json", b"[1, 2, 3]", "body has the shape [3]");
    bad(400, "", "application/octet-stream", &[0; 255], "255 bytes are no whole images of 64 float32 numbers");
    bad(400, "", "application/octet-stream", &f32::NAN.to_le_bytes().repeat(64), "is NaN");
    bad(400, "", "application/octet-stream", &1e9f32.to_le_bytes().repeat(64), "the weights learned from");
    bad(400, "", "application/octet-stream", &(-3f32).to_le_bytes().repeat(64), "the weights learned from");
    bad(400, "", "application/x-npy", b"\x93NUMPY", "not a valid .npy array");
    bad(400, "", "multipart/form-data; boundary=b", b"--b--", "it holds no file");
    bad(400, "", "multipart/form-data", b"x", "names no boundary");
    let array = b"--b\r\nContent-Disposition: form-data; name=a; filename=x.npy\r\n\r\n\x93NUMPY\r\n--b--";
    bad(
        400,
        "",
        "multipart/form-data; boundary=b",
        array,
        "x.npy is an array of NumPy, and files of a form are pictures",
    );
    bad(400, "", "image/png", b"\x93NUMPY", "body is an array of NumPy, not a picture");
    bad(413, "", "image/png", &[0; 20_001], "larger than 20000 bytes");
    bad(415, "", "video/mp4", &bytes, "\"video/mp4\" is not read");
    assert!(get(serving.address, "/nothing").refused(404).contains("nothing at /nothing"));
    let answer = get(serving.address, "/classify");
    assert!(answer.refused(405).contains("/classify does not take GET") && answer.head.contains("allow: post"));
    let answer = ask(serving.address, "POST", "/model", "", b"x");
    assert!(answer.refused(405).contains("/model does not take POST") && answer.head.contains("allow: get, head"));
    assert_eq!(tops(&serving.classify("", "", &bytes)).len(), 1);
}

#[test]
fn it_starts_where_it_can_and_ends_in_order() {
    let serving = Serving::of("digits", &["--log"]);
    let bytes = fs::read(root("tests/data/digit-7.png")).expect("there");
    assert_eq!(tops(&serving.classify("?top=1", "image/png", &bytes)).len(), 1);
    assert_eq!(get(serving.address, "/a%0Ab").status, 404);
    let port = serving.address.port().to_string();
    let again = ["serve", &serving.model, "--weights", &serving.weights, "--port", &port];
    serving.place.bad(2, &again, &format!("port {port} of 127.0.0.1 is taken by another program"));
    serving.place.bad(
        1,
        &["serve", &serving.model, "--host", "192.0.2.1", "--weights", &serving.weights],
        "cannot listen on",
    );
    serving.place.bad(2, &[&again[..4], &["--port", &port, "--host", "localhost"]].concat(), "of 127.0.0.1 is taken");
    serving.place.bad(2, &["serve", &serving.model, "--host", "here"], "expected an address in numbers: 127.0.0.1");
    serving.place.bad(2, &["serve", "tiny.nin"], "no weights for");
    serving.place.bad(2, &["serve", &serving.model, "--limit", "lots"], "expected a size like `16MB`");
    #[cfg(unix)]
    {
        let (code, said) = serving.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.ends_with("served 1 request\n"), "{said}");
        assert!(said.contains("POST /classify 200 ") && said.contains("GET /a%0Ab 404 "), "{said}");
    }
}

/// Whoever does not read the log holds up nobody.
#[test]
fn a_log_that_nobody_reads_is_left_out() {
    let serving = Serving::of("digits", &["--log"]);
    let path = format!("/{}", "a".repeat(199));
    for _ in 0..3000 {
        assert_eq!(get(serving.address, &path).status, 404);
    }
    assert_eq!(get(serving.address, "/health").status, 200);
    // Nor the end.
    #[cfg(unix)]
    {
        let (code, said) = serving.end();
        assert!(code == Some(0) && !said.contains("served"), "{code:?} {said}");
    }
}

/// A small file may hold a picture that takes long to decode: what its head says is enough to refuse it.
#[test]
fn pictures_of_too_many_pixels_are_not_decoded() {
    let serving = Serving::of("digits", &["--pixels", "10K"]);
    let small = image::png(50, 100, 1, &[100; 5000]).expect("a picture");
    let large = image::png(100, 101, 1, &[100; 10_100]).expect("a picture");
    assert_eq!(tops(&serving.classify("", "image/png", &small)).len(), 1);
    // Its data are cut off.
    let answer = serving.classify("", "image/png", &large[..50]);
    let said = answer.refused(413);
    assert!(said.contains("the request have 10100 pixels, and 10000 are the most"), "{said}");
    let part = |name: &str| format!("\r\n--b\r\nContent-Disposition: form-data; {name}\r\n\r\n").into_bytes();
    let form = |names: &[&str]| {
        let parts = names.iter().flat_map(|name| [part(name), small.clone()].concat());
        [&b"x"[..], &parts.collect::<Vec<u8>>(), b"\r\n--b--\r\n"].concat()
    };
    let kind = "multipart/form-data; boundary=b";
    let names = ["filename=a.png", "filename*=UTF-8''%C3%BC.png", r#"filename="a\"b.png""#];
    let answer = serving.classify("", kind, &form(&names[1..]));
    assert_eq!(tops(&answer).len(), 2);
    let named = answer.json()["results"].as_array().expect("a list").iter().map(|one| one["input"].clone()).collect();
    assert_eq!(Value::Array(named), json!(["ü.png", "a\"b.png"]));
    let said = serving.classify("", kind, &form(&names)).refused(413);
    assert!(said.contains("15000 pixels"), "{said}");
}

/// So may a small file a colour profile, of 600 MB.
#[cfg(target_os = "linux")]
#[test]
fn what_a_picture_holds_beside_its_pixels_is_bounded() {
    let serving = Serving::of("digits", &[]);
    let mut part = Vec::with_capacity(1 << 16);
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
    deflate.compress_vec(&[0; 1 << 20], &mut part, flate2::FlushCompress::Full).expect("room");
    let profile = [&b"iCCPx\0\0\x78\xda"[..], &part.repeat(600), &[3, 0, 0, 0, 0, 0]].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&profile);
    let chunk = [&(profile.len() as u32 - 4).to_be_bytes()[..], &profile, &sum.sum().to_be_bytes()].concat();
    let plain = image::png(8, 8, 1, &[100; 64]).expect("a picture");
    let picture = [&plain[..33], &chunk, &plain[33..]].concat();
    assert!(picture.len() < 1 << 20);
    assert_eq!(tops(&serving.classify("", "image/png", &picture)), tops(&serving.classify("", "image/png", &plain)));
    let status = fs::read_to_string(format!("/proc/{}/status", serving.process.id())).expect("there");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix(" kB")?.trim().parse().ok());
    assert!(most.is_some_and(|kilobytes: u64| kilobytes < 400_000), "{status}");
}

/// A network that does not classify is refused before the port is opened.
#[test]
fn a_network_without_classes_is_refused() {
    let place = Place::new();
    fs::write(
        place.path("map.nin"),
        "network map {\n    input image: [1, 8, 8]\n    image |> max_pool(kernel = 2, stride = 2)\n}\n",
    )
    .expect("written");
    place.bad(1, &["serve", "map.nin", "--port", "0"], "not one number a class");
    assert!(Path::new(&place.path("map.nin")).exists());
}
