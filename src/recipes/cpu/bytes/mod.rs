//! Convolutions of bytes on any processor, a launch for each stage: by products of four at a time (`Dot4U8I8`) where an
//! instruction does them, else by sums in 16 bits where weights leave room for them (`MulBytes`), else by products of
//! pairs of 16-bit numbers (`Dot2I16`), to which bytes are widened once.
//!
//! The terms of a sum are runs of numbers that lie together in the image or its padded copy: a row of the window, or a
//! tap where taps lie apart. Each run is filled up to whole words by weights of 0, whatever these meet.

mod factors;
mod panels;
mod product;
mod rows;
mod winograd;
mod write;

use crate::lower::target::Target;
use crate::lower::{BufferId, LowerCx, LowerError, Lowered};
use crate::recipes::common::Window;
use crate::recipes::common::conv::Geometry;
use crate::recipes::common::int8::To;
use crate::recipes::cpu::tiles;
use crate::types::Type;

pub use factors::Factors;

/// A convolution with its operands.
#[derive(Clone, Copy)]
pub struct Link {
    /// Its shape.
    pub geometry: Geometry,
    /// `[kh][kw][C][O]`, whole numbers.
    pub weights: BufferId,
    /// One for each output channel.
    pub factor: BufferId,
    /// What sums start with, for each output channel.
    pub bias: BufferId,
    /// The byte that stands for 0 in the image.
    pub zero: usize,
    /// What sums become.
    pub to: To,
    /// How many of its terms may be summed in 16 bits: 1, 2 or 4, as `ConvInt8` says.
    pub narrow: usize,
}

impl Link {
    /// The products that it is computed by where they are direct.
    pub fn factors(&self, target: &Target) -> Factors {
        Factors::of(target, self.narrow)
    }
}

/// `(x, then for each stage w, factor, bias) -> y`
pub fn forward(cx: &mut LowerCx, window: &Window, zeros: &[usize], narrow: &[usize]) -> Lowered {
    let chain = links(cx, window, zeros, narrow)?;
    let mut from = cx.operands[0].buffer;
    if tiles::of_bytes(cx, from, cx.result.buffer, &chain) {
        return Ok(());
    }
    for (i, link) in chain.iter().enumerate() {
        let g = &link.geometry;
        let to = match i + 1 == chain.len() {
            true => cx.result.buffer,
            false => {
                // As the next stage's products read it.
                let elem = chain[i + 1].factors(cx.target).image();
                cx.temp(&format!("stage{i}"), elem, 0, g.outputs * g.out[0] * g.out[1])
            }
        };
        if !winograd::launch(cx, [from, to], link) {
            write::launch(cx, [from, to], link);
        }
        from = to;
    }
    Ok(())
}

fn links(cx: &LowerCx, window: &Window, zeros: &[usize], narrow: &[usize]) -> Result<Vec<Link>, LowerError> {
    let Some((x, stages)) = cx.operands.split_first() else { return Err(LowerError::Bug("no operands".into())) };
    let mut x = x.ty.clone();
    let mut links: Vec<Link> = Vec::new();
    for (i, own) in stages.chunks(3).enumerate() {
        let ([w, factor, bias], Some(&zero)) = (own, zeros.get(i)) else {
            return Err(LowerError::Bug(format!("{}: an operand is missing", cx.name)));
        };
        let window = if i == 0 { window } else { &Window::ONE };
        let geometry = Geometry::new(&x, &w.ty, window, 1)?;
        x = Type::batched(&[geometry.outputs, geometry.out[0], geometry.out[1]]);
        let to = zeros.get(i + 1).map_or(To::Floats, |&zero| To::Bytes { zero });
        // Weights state it for rows of the window, whose places lie apart where it is dilated.
        let terms = narrow.get(i).copied().unwrap_or(1);
        let apart = window.dilation[1] > 1;
        let narrow = if apart && !geometry.channels.is_multiple_of(2 * terms) { 1 } else { terms };
        links.push(Link { geometry, weights: w.buffer, factor: factor.buffer, bias: bias.buffer, zero, to, narrow });
    }
    Ok(links)
}
