//! A source built for a device: from the cache where it is, from the text otherwise.

use super::cache::Key;
use super::{DeviceContext, Source, tensor};
use crate::{Error, Result};
use ocl::core::{self, Kernel};

/// Kernels in the order of the source.
pub struct Built {
    /// The kernels.
    pub kernels: Vec<Kernel>,
    /// Whether it came from the disk.
    pub cached: bool,
}

/// Bits of the indices that kernels use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    W32,
    W64,
}

/// Builds a source for a device, or takes what was built before.
pub fn build(context: &DeviceContext, source: &Source, width: Width) -> Result<Built> {
    let mut options = String::from("-cl-std=CL1.2");
    options += match width {
        Width::W32 => " -D IDX=int",
        Width::W64 => " -D IDX=long",
    };
    if !source.optimise {
        options += " -cl-opt-disable";
    }
    if context.info.exact_division {
        options += " -cl-fp32-correctly-rounded-divide-sqrt";
    }
    if source.text.contains(tensor::MACRO) && tensor::passes(&context.info) {
        options += &format!(" -D {}", tensor::MACRO);
    }
    let key = Key::new(&context.info, &options, &source.text);
    let stored = key.read().and_then(|binary| context.load(&binary, &options).ok());
    let cached = stored.is_some();
    let program = match stored {
        Some(program) => program,
        None => context.build(&source.text, &options)?,
    };
    let mut kernels = Vec::new();
    for entry in &source.kernels {
        let kernel = core::create_kernel(&program, &entry.name);
        kernels
            .push(kernel.map_err(|_| Error::new(format!("{} lacks the kernel {}", context.info.label(), entry.name)))?);
    }
    if !cached && let Some(binary) = context.binary(&program) {
        key.write(&binary);
    }
    Ok(Built { kernels, cached })
}
