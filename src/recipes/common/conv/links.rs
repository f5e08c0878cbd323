//! The convolutions of a chain with their operands.

use super::geometry::Geometry;
use crate::lower::{BufferId, LowerCx, LowerError};
use crate::recipes::common::{Epilogue, Stage, Window};
use crate::types::Type;

/// One convolution of a chain with its operands.
#[derive(Clone, Copy)]
pub struct Link {
    /// Its shape.
    pub geometry: Geometry,
    /// Weights `[kh][kw][C/groups][O]`.
    pub weights: BufferId,
    /// One number for each output channel.
    pub bias: Option<BufferId>,
    /// What happens to sums before they are stored.
    pub epilogue: Epilogue,
}

/// Reads operands `(x, w, [b], w, [b], …)`: a convolution, then 1x1 convolutions.
pub fn links(cx: &LowerCx, window: &Window, groups: usize, stages: &[Stage]) -> Result<Vec<Link>, LowerError> {
    let mut operands = cx.operands.iter();
    let mut take = || operands.next().ok_or_else(|| LowerError::Bug(format!("{}: an operand is missing", cx.name)));
    let mut x = take()?.ty.clone();
    let mut links: Vec<Link> = Vec::new();
    for stage in stages {
        let weights = take()?;
        let bias = if stage.bias { Some(take()?.buffer) } else { None };
        let (window, groups) = if links.is_empty() { (window, groups) } else { (&Window::ONE, 1) };
        let geometry = Geometry::new(&x, &weights.ty, window, groups)?;
        x = Type::batched(&[geometry.outputs, geometry.out[0], geometry.out[1]]);
        links.push(Link { geometry, weights: weights.buffer, bias, epilogue: stage.epilogue });
    }
    Ok(links)
}
