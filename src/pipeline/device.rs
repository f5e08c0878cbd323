//! Devices by the words of `--device`.

use ninc_runtime::opencl::Choice;
use ninc_runtime::{Error, Result};
use std::fmt;

/// What runs the program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// This machine's processor, by compiled code.
    #[default]
    Cpu,
    /// The graph's interpreter: slow, and right by definition.
    Interp,
    /// OpenCL devices that share each batch; the first GPU, or else the first device, if none is named.
    OpenCl(Vec<Choice>),
}

impl std::str::FromStr for Device {
    type Err = Error;

    /// Reads `cpu`, `interp`, `opencl`, `opencl:1`, `opencl:0,opencl:1`.
    fn from_str(text: &str) -> Result<Device> {
        let wrong = || {
            Error::new(format!("unknown device `{text}`"))
                .with_help("devices: cpu, interp, opencl, opencl:1, opencl:0,opencl:1; `ninc devices` shows them")
        };
        match text {
            "cpu" => return Ok(Device::Cpu),
            "interp" => return Ok(Device::Interp),
            "opencl" => return Ok(Device::OpenCl(vec![])),
            _ => {}
        }
        let list: std::result::Result<Vec<Choice>, ()> = text.split(',').map(str::parse).collect();
        list.map(Device::OpenCl).map_err(|()| wrong())
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Interp => f.write_str("interp"),
            Device::OpenCl(list) if list.is_empty() => f.write_str("opencl"),
            Device::OpenCl(list) => {
                let names: Vec<String> = list.iter().map(Choice::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}
