//! The meaning of a program under construction: runs its launches through the interpreter of kernel IR.

use super::program::{BufferId, Launch, ProgramBuilder, Role};
use crate::kernel::interp::run_kernel;
use crate::kernel::ir::{EntityRef, Module};
use crate::kernel::verify;
use crate::verified::Verified;

/// Runs a program under construction (preparations, then launches) for a batch. `feeds` give the bytes of inputs and
/// parameters, in memory order; all of them must be fed. Gives the bytes of every buffer, indexed by [`BufferId`].
///
/// Working memory starts as garbage, and the iterations of each launch run from the last to the first, so that a kernel
/// whose iterations depend on each other, or that reads what nobody wrote, gives a visibly wrong result.
pub fn run_program(
    builder: &ProgramBuilder,
    batch: usize,
    feeds: &[(BufferId, Vec<u8>)],
) -> Result<Vec<Vec<u8>>, String> {
    let module = verify::verify(builder.module.clone()).map_err(|e| e.to_string())?;
    let mut blocks = Vec::new();
    for (id, buffer) in &builder.buffers {
        let bytes = (buffer.fixed + buffer.per_image * batch) * buffer.elem.bytes();
        let fed = feeds.iter().find(|(fed, _)| *fed == id);
        match fed {
            Some((_, data)) if data.len() != bytes => {
                return Err(format!("{} takes {bytes} bytes, fed {}", buffer.name, data.len()));
            }
            Some((_, data)) => blocks.push(data.clone()),
            None if matches!(buffer.role, Role::Input | Role::Param) => {
                return Err(format!("{} is not fed", buffer.name));
            }
            None => blocks.push(vec![0xff; bytes]),
        }
    }
    for launch in builder.prepare.iter().chain(&builder.launches) {
        run_launch(&module, launch, &mut blocks, batch)?;
    }
    Ok(blocks)
}

fn run_launch(module: &Verified<Module>, launch: &Launch, blocks: &mut [Vec<u8>], batch: usize) -> Result<(), String> {
    let kernel = &module.kernels[launch.kernel];
    let vars = [batch as i64, 0, batch as i64];
    let args: Vec<usize> = launch.args.iter().map(|s| s.index()).collect();
    let end = kernel.iterations().ok_or_else(|| format!("kernel {} is not one loop", kernel.name))?;
    for round in (0..end.eval(&kernel.start(vars))).rev() {
        run_kernel(module, launch.kernel, blocks, &args, vars, round..round + 1).map_err(|e| e.to_string())?;
    }
    Ok(())
}
