//! A built library opened in this process, and things to feed it with.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::Write;
use std::path::Path;
use std::ptr::{null, null_mut};

type Create = unsafe extern "C" fn(*mut *mut c_void, *const c_char, *mut c_char, usize) -> c_int;
type FromMemory = unsafe extern "C" fn(*mut *mut c_void, *const u8, usize, *mut c_char, usize) -> c_int;
type RunWith = unsafe extern "C" fn(*const c_void, i64, *const f32, *mut f32, i64, *mut c_void, usize) -> c_int;
type Size = unsafe extern "C" fn(*const c_void, i64, i64) -> usize;
type Message = unsafe extern "C" fn(c_int) -> *const c_char;
type Embedded = unsafe extern "C" fn(*mut *mut c_void, *mut c_char, usize) -> c_int;
type Step = unsafe extern "C" fn(
    *mut c_void,
    i64,
    *const f32,
    *const i32,
    i64,
    f64,
    *mut f32,
    i64,
    *mut c_void,
    usize,
) -> c_int;
type Prepare = unsafe extern "C" fn(*const c_void, *const u8, i64, i64, i64, i64, *mut f32) -> c_int;
type Save = unsafe extern "C" fn(*const c_void, *const c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut c_void);

pub struct Loaded {
    handle: usize,
    name: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Network(usize);

/// Numbers of one result.
const RESULTS: usize = 10;

#[allow(unsafe_code)]
impl Loaded {
    pub fn open(path: &Path, name: &str) -> Loaded {
        let text = CString::new(path.to_str().expect("a plain path")).expect("no zeros");
        // SAFETY: the library runs no code when it is loaded.
        let handle = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{} cannot be loaded", path.display());
        Loaded { handle: handle as usize, name: name.into() }
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        let text = CString::new(format!("{}_{name}", self.name)).expect("no zeros");
        // SAFETY: the handle is that of an open library.
        let address = unsafe { libc::dlsym(self.handle as *mut c_void, text.as_ptr()) };
        assert!(!address.is_null(), "no {name}");
        address
    }

    fn created(status: c_int, network: *mut c_void, error: &[c_char]) -> Result<Network, (i32, String)> {
        // SAFETY: the library ends the text with a 0.
        let text = unsafe { CStr::from_ptr(error.as_ptr()) }.to_string_lossy().into_owned();
        assert_eq!(status == 0, !network.is_null());
        if status == 0 { Ok(Network(network as usize)) } else { Err((status, text)) }
    }

    pub fn create(&self, path: &Path) -> Result<Network, (i32, String)> {
        self.create_by("create", path)
    }

    pub fn train_create(&self, path: &Path) -> Network {
        self.create_by("train_create", path).expect("good weights")
    }

    pub fn create_embedded(&self) -> Network {
        let (mut network, mut error) = (null_mut(), [0 as c_char; 300]);
        // SAFETY: as the header says.
        let status = unsafe {
            let create = std::mem::transmute::<*mut c_void, Embedded>(self.symbol("create_embedded"));
            create(&mut network, error.as_mut_ptr(), error.len())
        };
        Loaded::created(status, network, &error).expect("good weights inside")
    }

    /// The loss of one step, or the status.
    pub fn train_step(
        &self,
        training: Network,
        images: &[f32],
        labels: &[i32],
        step: i64,
        factor: f64,
        threads: i64,
    ) -> Result<f32, i32> {
        let mut loss = f32::NAN;
        let (n, images, labels) = (labels.len() as i64, images.as_ptr(), labels.as_ptr());
        // SAFETY: as the header says.
        let status = unsafe {
            let run = std::mem::transmute::<*mut c_void, Step>(self.symbol("train_step"));
            run(training.0 as _, n, images, labels, step, factor, &mut loss, threads, null_mut(), 0)
        };
        if status == 0 { Ok(loss) } else { Err(status) }
    }

    /// A prepared picture of `[width, height, channels, orientation]`, or the status.
    pub fn prepare_picture(
        &self,
        network: Network,
        pixels: &[u8],
        [width, height, channels, turned]: [i64; 4],
        size: usize,
    ) -> Result<Vec<f32>, i32> {
        let mut image = vec![f32::NAN; size];
        // SAFETY: as the header says; shapes that do not fit the pixels are refused before they are read.
        let status = unsafe {
            let prepare = std::mem::transmute::<*mut c_void, Prepare>(self.symbol("prepare_picture"));
            prepare(network.0 as _, pixels.as_ptr(), width, height, channels, turned, image.as_mut_ptr())
        };
        if status == 0 { Ok(image) } else { Err(status) }
    }

    /// Saves, and gives the status.
    pub fn train_save(&self, training: Network, path: &Path) -> i32 {
        let text = CString::new(path.to_str().expect("a plain path")).expect("no zeros");
        // SAFETY: as the header says.
        unsafe {
            let save = std::mem::transmute::<*mut c_void, Save>(self.symbol("train_save"));
            save(training.0 as _, text.as_ptr())
        }
    }

    fn create_by(&self, function: &str, path: &Path) -> Result<Network, (i32, String)> {
        let text = CString::new(path.to_str().expect("a plain path")).expect("no zeros");
        let (mut network, mut error) = (null_mut(), [0 as c_char; 300]);
        // SAFETY: as the header says.
        let status = unsafe {
            let create = std::mem::transmute::<*mut c_void, Create>(self.symbol(function));
            create(&mut network, text.as_ptr(), error.as_mut_ptr(), error.len())
        };
        Loaded::created(status, network, &error)
    }

    pub fn create_from_memory(&self, bytes: &[u8]) -> Result<Network, (i32, String)> {
        let (mut network, mut error) = (null_mut(), [0 as c_char; 300]);
        // SAFETY: as the header says.
        let status = unsafe {
            let create = std::mem::transmute::<*mut c_void, FromMemory>(self.symbol("create_from_memory"));
            create(&mut network, bytes.as_ptr(), bytes.len(), error.as_mut_ptr(), error.len())
        };
        Loaded::created(status, network, &error)
    }

    /// Runs `n` images; in a workspace of that many bytes, if given.
    pub fn run(
        &self,
        network: Network,
        n: usize,
        images: &[f32],
        threads: usize,
        workspace: Option<usize>,
    ) -> Result<Vec<f32>, i32> {
        let mut result = vec![f32::NAN; n * RESULTS];
        // An odd start, and garbage inside.
        let mut memory = vec![0xa5u8; workspace.map_or(0, |w| w + 1)];
        let place = if workspace.is_some() { memory[1..].as_mut_ptr().cast() } else { null_mut() };
        // SAFETY: images and results are as large as the header asks for.
        let status = unsafe {
            let run = std::mem::transmute::<*mut c_void, RunWith>(self.symbol("run_with"));
            let (images, n) = (images.as_ptr(), n as i64);
            run(network.0 as _, n, images, result.as_mut_ptr(), threads as i64, place, workspace.unwrap_or(0))
        };
        if status == 0 { Ok(result) } else { Err(status) }
    }

    /// For arguments that must be refused.
    pub fn status_of_run(&self, network: Network, n: i64, threads: i64) -> i32 {
        let (image, mut result) = ([0.0; 64], [0.0; RESULTS]);
        // SAFETY: refused before anything is read.
        unsafe {
            let run = std::mem::transmute::<*mut c_void, RunWith>(self.symbol("run_with"));
            assert_eq!(run(null(), 1, image.as_ptr(), result.as_mut_ptr(), 1, null_mut(), 0), 6);
            run(network.0 as _, n, image.as_ptr(), result.as_mut_ptr(), threads, null_mut(), 0)
        }
    }

    /// The status of a run of the first `n` of these images.
    pub fn status_of(&self, network: Network, n: usize, images: &[f32]) -> i32 {
        assert!(images.len() >= n * 64);
        let mut results = vec![0.0; n * RESULTS];
        // SAFETY: as the header says.
        unsafe {
            let run = std::mem::transmute::<*mut c_void, RunWith>(self.symbol("run_with"));
            run(network.0 as _, n as i64, images.as_ptr(), results.as_mut_ptr(), 1, null_mut(), 0)
        }
    }

    pub fn workspace_size(&self, network: Network, n: i64, threads: i64) -> usize {
        // SAFETY: as the header says.
        unsafe {
            let size = std::mem::transmute::<*mut c_void, Size>(self.symbol("workspace_size"));
            size(network.0 as _, n, threads)
        }
    }

    pub fn message(&self, status: i32) -> String {
        // SAFETY: the text is a constant of the library.
        unsafe {
            let message = std::mem::transmute::<*mut c_void, Message>(self.symbol("message"));
            CStr::from_ptr(message(status)).to_string_lossy().into_owned()
        }
    }

    pub fn destroy(&self, network: Network) {
        self.destroy_by("destroy", network);
    }

    pub fn train_destroy(&self, training: Network) {
        self.destroy_by("train_destroy", training);
    }

    fn destroy_by(&self, function: &str, network: Network) {
        // SAFETY: nobody uses the network any more.
        unsafe {
            let destroy = std::mem::transmute::<*mut c_void, Destroy>(self.symbol(function));
            destroy(network.0 as _);
        }
    }
}

/// Pixels that look a little like something.
fn pixels(channels: usize, image: usize) -> Vec<u8> {
    let value = |i: usize| ((i * 37 + image * 91) ^ (i * image) ^ (i >> 2)) % 256;
    (0..64 * channels).map(|i| value(i) as u8).collect()
}

/// Forty labelled images as an `.npz`.
pub fn data(path: &Path, channels: usize) {
    let mut x: Vec<u8> = Vec::new();
    let mut y: Vec<u8> = Vec::new();
    for image in 0..40 {
        x.extend(pixels(channels, image));
        y.push(image as u8 % 10);
    }
    let header = |shape: String| {
        let mut text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        while (10 + text.len() + 1) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes
    };
    let mut zip = Vec::new();
    let mut directory = Vec::new();
    let arrays = [("x.npy", header(format!("(40, {channels}, 8, 8)")), x), ("y.npy", header("(40,)".into()), y)];
    for (name, head, body) in arrays {
        // Stored without compression.
        let bytes = [head, body].concat();
        let sum = crc(&bytes);
        let mut entry = Vec::new();
        for half in [20u16, 0, 0, 0, 0x21] {
            entry.extend(half.to_le_bytes());
        }
        for word in [sum, bytes.len() as u32, bytes.len() as u32] {
            entry.extend(word.to_le_bytes());
        }
        entry.extend((name.len() as u16).to_le_bytes());
        entry.extend(0u16.to_le_bytes());
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&entry);
        directory.extend([0; 10]);
        directory.extend((zip.len() as u32).to_le_bytes());
        directory.extend(name.bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&entry);
        zip.extend(name.bytes());
        zip.extend(bytes);
    }
    let start = zip.len() as u32;
    zip.extend(&directory);
    zip.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    zip.extend((directory.len() as u32).to_le_bytes());
    zip.extend(start.to_le_bytes());
    zip.extend([0, 0]);
    std::fs::write(path, zip).expect("written");
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |v: u32| if v & 1 == 1 { v >> 1 ^ 0xedb8_8320 } else { v >> 1 };
    !bytes.iter().fold(!0, |sum, &b| (0..8).fold(sum ^ u32::from(b), |v, _| step(v)))
}

/// One picture as `.png` and `.ppm`.
pub fn picture(path: &Path, channels: usize) {
    let pixels = pixels(channels, 7);
    let mut file = std::fs::File::create(path.with_extension("ppm")).expect("made");
    write!(file, "P{}\n8 8\n255\n", if channels == 3 { 6 } else { 5 }).expect("written");
    file.write_all(&pixels).expect("written");
    let png = path.with_extension("png");
    match channels {
        3 => image::RgbImage::from_raw(8, 8, pixels).expect("as large").save(png).expect("saved"),
        _ => image::GrayImage::from_raw(8, 8, pixels).expect("as large").save(png).expect("saved"),
    }
}
