//! Pools, whose sizes are rounded up and whose means count the padding.

use super::{Map, Mapped, View};
use crate::io::caffe::proto::PoolingParameter;
use crate::io::sheet::Args;
use crate::ops::window::{pool_output, pooling};

/// Numbers of the ways to pool.
const AVE: i32 = 1;
const STOCHASTIC: i32 = 2;

/// Reads a size given for both directions or for each.
fn sides(both: Option<u32>, [h, w]: [Option<u32>; 2], usual: u32) -> [usize; 2] {
    [h, w].map(|side| side.or(both).unwrap_or(usual) as usize)
}

impl Map<'_> {
    /// Translates Pooling.
    pub(super) fn pooling(&mut self, i: usize, x: &View) -> Mapped {
        let p: PoolingParameter = self.it(i).it.pooling_param.as_deref().cloned().unwrap_or_default();
        let (layer, [channels, height, width]) = self.picture(x)?;
        let size = [height, width];
        let (function, whole) = match p.pool.unwrap_or_default() {
            0 => ("max_pool", Some("global_max_pool")),
            AVE => ("avg_pool", Some("global_avg_pool")),
            STOCHASTIC => ("stochastic_pool", None),
            other => return Err(format!("it pools in the unknown way {other}").into()),
        };
        let kernel = match p.global_pooling.unwrap_or(false) {
            true => size,
            false => sides(p.kernel_size, [p.kernel_h, p.kernel_w], 0),
        };
        let stride = sides(p.stride, [p.stride_h, p.stride_w], 1);
        let pad = sides(p.pad, [p.pad_h, p.pad_w], 0);
        let ceil = p.ceil_mode.unwrap_or(p.round_mode.unwrap_or(0) == 0);
        let window = pooling(kernel, stride, pad);
        let output = pool_output(&window, ceil, size).map_err(|e| e.message)?;
        if kernel == size
            && pad == [0, 0]
            && let Some(whole) = whole
        {
            let layer = self.add(self.name(i), whole, Args::default(), vec![layer], vec![channels]);
            return Ok(View { layer, shape: vec![channels, 1, 1] });
        }
        // Without padding Caffe keeps a window that lies behind the image, and computes nothing of meaning in it.
        let windows = |k: usize| (size[k] - kernel[k]).div_ceil(stride[k]) + 1;
        if pad == [0, 0] && ceil && (0..2).any(|k| windows(k) != output[k]) {
            return Err("its last window lies outside of the image".into());
        }
        let dims = vec![channels, output[0], output[1]];
        let mut operand = layer;
        let mut own = (pad, ceil);
        if function == "avg_pool" && pad != [0, 0] {
            // Cells of the padding count: they become part of the image.
            let padded = vec![channels, height + 2 * pad[0], width + 2 * pad[1]];
            operand = self.add(None, "pad", Args::padding([pad, pad], 0.0), vec![layer], padded.clone());
            let inner = pooling(kernel, stride, [0, 0]);
            let fits =
                |ceil: &bool| pool_output(&inner, *ceil, [padded[1], padded[2]]).is_ok_and(|size| size == output);
            own = ([0, 0], [true, false].into_iter().find(fits).ok_or("its windows have no counterpart")?);
        }
        let args = Args::pooling(kernel, stride, own.0, own.1);
        let layer = self.add(self.name(i), function, args, vec![operand], dims.clone());
        Ok(View { layer, shape: dims })
    }
}
