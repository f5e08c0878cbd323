//! The meaning of a program under construction: runs its launches through the interpreter of kernel IR.

use super::program::{BufferId, Launch, ProgramBuilder, Role};
use crate::kernel::error::{InterpError, VerifyErrors};
use crate::kernel::interp::run_kernel;
use crate::kernel::ir::{EntityRef, Module};
use crate::kernel::verify;
use crate::verified::Verified;
use thiserror::Error;

/// Why a program under construction cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// Its kernels break rules of the kernel IR.
    #[error("{0}")]
    Kernels(#[from] VerifyErrors),
    /// An input or a parameter is fed with another number of bytes than it has.
    #[error("{name} takes {bytes} bytes, fed {given}")]
    Fed {
        /// Name of the buffer.
        name: String,
        /// Bytes that it has.
        bytes: usize,
        /// Bytes that it is fed with.
        given: usize,
    },
    /// An input or a parameter of this name is not fed.
    #[error("{0} is not fed")]
    NotFed(String),
    /// The kernel of this name is not one parallel loop.
    #[error("kernel {0} is not one loop")]
    NoLoop(String),
    /// A kernel stops.
    #[error("{0}")]
    Kernel(#[from] InterpError),
}

/// Runs a program under construction (preparations, then launches) for a batch. `feeds` give the bytes of inputs and
/// parameters, in memory order; all of them must be fed. Gives the bytes of every buffer, indexed by [`BufferId`].
///
/// Working memory starts as garbage, and the iterations of each launch run from the last to the first, so that a kernel
/// whose iterations depend on each other, or that reads what nobody wrote, gives a visibly wrong result.
pub fn run_program(
    builder: &ProgramBuilder,
    batch: usize,
    feeds: &[(BufferId, Vec<u8>)],
) -> Result<Vec<Vec<u8>>, RunError> {
    let module = verify::verify(builder.module.clone())?;
    let mut blocks = Vec::new();
    for (id, buffer) in &builder.buffers {
        let bytes = (buffer.fixed + buffer.per_image * batch) * buffer.elem.bytes();
        let fed = feeds.iter().find(|(fed, _)| *fed == id);
        match fed {
            Some((_, data)) if data.len() != bytes => {
                return Err(RunError::Fed { name: buffer.name.clone(), bytes, given: data.len() });
            }
            Some((_, data)) => blocks.push(data.clone()),
            None if matches!(buffer.role, Role::Input | Role::Param) => {
                return Err(RunError::NotFed(buffer.name.clone()));
            }
            None => blocks.push(vec![0xff; bytes]),
        }
    }
    for launch in builder.prepare.iter().chain(&builder.launches) {
        run_launch(&module, launch, &mut blocks, batch)?;
    }
    Ok(blocks)
}

fn run_launch(
    module: &Verified<Module>,
    launch: &Launch,
    blocks: &mut [Vec<u8>],
    batch: usize,
) -> Result<(), RunError> {
    let kernel = &module.kernels[launch.kernel];
    let vars = [batch as i64, 0, batch as i64];
    let args: Vec<usize> = launch.args.iter().map(|s| s.index()).collect();
    let end = kernel.iterations().ok_or_else(|| RunError::NoLoop(kernel.name.clone()))?;
    for i in (0..end.eval(&kernel.start(vars))).rev() {
        run_kernel(module, launch.kernel, blocks, &args, vars, i..i + 1)?;
    }
    Ok(())
}
