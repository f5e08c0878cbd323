//! Which devices there are, what they are like, and how users name them.

use super::context;
use crate::{Error, Result};
use ocl::core::{self, DeviceId, PlatformId};
use ocl::ffi;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// How to get a driver, in every error about a missing one.
pub(super) const INSTALL: &str = "install the OpenCL driver of your GPU, or one for processors: \
     on Debian and Ubuntu `apt install ocl-icd-libopencl1 pocl-opencl-icd`; `ninc devices` shows what is found";

/// A device of some platform.
#[derive(Clone, Debug)]
pub struct Info {
    /// In the order of all platforms: `opencl:INDEX`.
    pub index: usize,
    /// Which part of the device this is, counted from 1, and of how many, if it was cut.
    pub part: Option<(usize, usize)>,
    /// The platform's name.
    pub platform: String,
    /// The device's name.
    pub name: String,
    /// Who made it.
    pub vendor: String,
    /// The driver's version.
    pub driver: String,
    /// `OpenCL 1.2 …`.
    pub version: String,
    /// `gpu`, `cpu` or `accelerator`.
    pub kind: &'static str,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// The largest single buffer.
    pub buffer_bytes: u64,
    /// Bytes that the items of a group share.
    pub local_bytes: u64,
    /// Number of compute units.
    pub units: u32,
    /// Clock in MHz.
    pub megahertz: u32,
    /// The most items of a group.
    pub group_items: usize,
    /// Float32 operations per second, from units, clock and what the vendor is known for: an estimate.
    pub peak: f64,
    pub(super) id: DeviceId,
    pub(super) platform_id: PlatformId,
    /// Whether divisions and square roots can be rounded correctly.
    pub(super) exact_division: bool,
}

impl Info {
    /// Returns its name as users write it.
    pub fn label(&self) -> String {
        match self.part {
            Some((part, parts)) => format!("part {part} of opencl:{}/{parts} ({})", self.index, self.name),
            None => format!("opencl:{} ({})", self.index, self.name),
        }
    }

    /// Refuses a device whose driver is too old.
    pub fn check(&self) -> Result<()> {
        let numbers = self.version.trim_start_matches("OpenCL ").split([' ', '.']).map(|n| n.parse().unwrap_or(0));
        if numbers.take(2).lt([1u32, 2]) {
            let message = format!("{} speaks {}; ninc needs OpenCL 1.2", self.label(), self.version.trim());
            return Err(Error::new(message).with_help("take a newer driver, or another device of `ninc devices`"));
        }
        Ok(())
    }

    /// Returns what decides the code that it runs.
    pub fn identity(&self) -> String {
        [&self.platform, &self.vendor, &self.name, &self.driver, &self.version].map(String::as_str).join("\n")
    }
}

/// A device as users name it: `opencl:1`, or cut into equal parts that share each batch as devices do: `opencl:1/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Its number in the file.
    pub index: usize,
    /// At least 1.
    pub parts: usize,
}

impl FromStr for Choice {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Choice, ()> {
        let name = text.trim().strip_prefix("opencl:").ok_or(())?;
        let (index, parts) = name.split_once('/').unwrap_or((name, "1"));
        let number = |text: &str| text.parse::<usize>().map_err(|_| ());
        let choice = Choice { index: number(index)?, parts: number(parts)? };
        if choice.parts == 0 { Err(()) } else { Ok(choice) }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.parts {
            1 => write!(f, "opencl:{}", self.index),
            parts => write!(f, "opencl:{}/{parts}", self.index),
        }
    }
}

/// Returns the devices of these names, in their order; the one of [`pick`] if none is named.
pub fn choose(choices: &[Choice]) -> Result<Vec<Info>> {
    if choices.is_empty() {
        return Ok(vec![pick(None)?]);
    }
    let mut chosen = Vec::new();
    for (i, choice) in choices.iter().enumerate() {
        if choices[..i].iter().any(|other| other.index == choice.index) {
            return Err(Error::new(format!("the device opencl:{} is named twice", choice.index))
                .with_help("name each device once: twice the work on one device is no faster"));
        }
        let whole = pick(Some(choice.index))?;
        if choice.parts == 1 {
            chosen.push(whole);
            continue;
        }
        for (part, id) in context::parts(&whole, choice.parts)?.into_iter().enumerate() {
            let part = Some((part + 1, choice.parts));
            chosen.push(Info { part, ..info(whole.index, whole.platform_id, id) });
        }
    }
    Ok(chosen)
}

/// Returns the device of a process that shares a machine with others, by its number among them: the devices that are of
/// the kind of [`pick`]'s, one after the other.
pub fn of_process(number: usize) -> Result<Choice> {
    let kind = pick(None)?.kind;
    let alike: Vec<Info> = list()?.into_iter().filter(|device| device.kind == kind).collect();
    Ok(Choice { index: alike[number % alike.len()].index, parts: 1 })
}

/// Lists all devices of all platforms. An error if there is no OpenCL at all.
pub fn list() -> Result<Vec<Info>> {
    if let Err(e) = opencl_loader::find() {
        return Err(Error::new(format!("there is no OpenCL on this machine: {e}")).with_help(INSTALL));
    }
    let none = || Error::new("OpenCL is installed, but no driver for any device is").with_help(INSTALL);
    // Drivers start with the first call, and some of them fail if two threads make it at once.
    static STARTING: Mutex<()> = Mutex::new(());
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    let platforms = core::get_platform_ids().map_err(|_| none())?;
    let mut found = Vec::new();
    for platform in platforms {
        // A platform without devices answers with an error.
        let devices = core::get_device_ids(platform, None, None).unwrap_or_default();
        for id in devices {
            found.push(info(found.len(), platform, id));
        }
    }
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

/// Returns the device with this index; without one the first GPU, or else the first device.
pub fn pick(index: Option<usize>) -> Result<Info> {
    let mut all = list()?;
    let gpu = || all.iter().position(|d| d.kind == "gpu").unwrap_or(0);
    let at = index.unwrap_or_else(gpu);
    if at >= all.len() {
        let names: Vec<String> = all.iter().map(|d| format!("opencl:{} ({})", d.index, d.name)).collect();
        let error = Error::new(format!("there is no device opencl:{at}"));
        return Err(error.with_help(format!("this machine has {}", names.join(", "))));
    }
    let device = all.swap_remove(at);
    device.check()?;
    Ok(device)
}

fn info(index: usize, platform: PlatformId, id: DeviceId) -> Info {
    let raw = |what: u32| core::get_device_info_raw(id, what).unwrap_or_default();
    let text = |what| String::from_utf8_lossy(&raw(what)).trim_end_matches('\0').trim().to_string();
    // Numbers have 4 or 8 bytes, in the machine's order.
    let number = |what| match raw(what).as_slice() {
        bytes @ [_, _, _, _] => u64::from(u32::from_ne_bytes(bytes.try_into().expect("four bytes"))),
        bytes @ [_, _, _, _, _, _, _, _] => u64::from_ne_bytes(bytes.try_into().expect("eight bytes")),
        _ => 0,
    };
    let kinds = number(ffi::CL_DEVICE_TYPE);
    let kind = match kinds {
        k if k & ffi::CL_DEVICE_TYPE_GPU != 0 => "gpu",
        k if k & ffi::CL_DEVICE_TYPE_CPU != 0 => "cpu",
        _ => "accelerator",
    };
    let platform_name = core::get_platform_info(platform, core::PlatformInfo::Name).map(|n| n.to_string());
    let (vendor, units, clock) = (
        text(ffi::CL_DEVICE_VENDOR),
        number(ffi::CL_DEVICE_MAX_COMPUTE_UNITS) as u32,
        number(ffi::CL_DEVICE_MAX_CLOCK_FREQUENCY) as u32,
    );
    let lanes = lanes(kind, &vendor, number(ffi::CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT));
    // CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT
    let exact_division = number(ffi::CL_DEVICE_SINGLE_FP_CONFIG) & (1 << 7) != 0;
    Info {
        index,
        part: None,
        platform: platform_name.unwrap_or_default(),
        name: text(ffi::CL_DEVICE_NAME),
        driver: text(ffi::CL_DRIVER_VERSION),
        version: text(ffi::CL_DEVICE_VERSION),
        kind,
        memory_bytes: number(ffi::CL_DEVICE_GLOBAL_MEM_SIZE),
        buffer_bytes: number(ffi::CL_DEVICE_MAX_MEM_ALLOC_SIZE),
        local_bytes: number(ffi::CL_DEVICE_LOCAL_MEM_SIZE),
        units,
        megahertz: clock,
        group_items: number(ffi::CL_DEVICE_MAX_WORK_GROUP_SIZE) as usize,
        // A multiplication and an addition per lane and cycle.
        peak: 2.0 * f64::from(units) * lanes * f64::from(clock) * 1e6,
        vendor,
        id,
        platform_id: platform,
        exact_division,
    }
}

/// Returns the float32 lanes of one of a device's units: OpenCL does not tell, so it is what most of a vendor's devices
/// have.
fn lanes(kind: &str, vendor: &str, native: u64) -> f64 {
    match kind {
        "gpu" if vendor.contains("NVIDIA") => 128.0,
        "gpu" if vendor.contains("Intel") => 8.0,
        "gpu" => 64.0,
        // Two fused units of native width each.
        _ => 2.0 * native.max(1) as f64,
    }
}
