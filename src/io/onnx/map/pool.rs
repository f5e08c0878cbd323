//! Pools over windows and over whole maps.

use super::super::read::Node;
use super::view::View;
use super::window::Window;
use super::{Map, Mapped};
use crate::io::sheet::{Args, LayerId};

impl Map<'_> {
    /// Translates MaxPool.
    pub(super) fn max_pool(&mut self, node: &Node) -> Mapped {
        if node.outputs.get(1).is_some_and(|o| !o.is_empty() && self.uses.contains_key(o.as_str())) {
            return Err("the places of its maxima are used".into());
        }
        self.pool(node, "max_pool")
    }

    /// Translates AveragePool.
    pub(super) fn average_pool(&mut self, node: &Node) -> Mapped {
        self.pool(node, "avg_pool")
    }

    fn pool(&mut self, node: &Node, function: &'static str) -> Mapped {
        let x = self.view(node, 0)?;
        let spatial = &x.image()[x.image().len().min(1)..];
        let kernel = node.ints("kernel_shape").unwrap_or_default();
        let window = Window::of(node, kernel, spatial, node.int("ceil_mode").unwrap_or(0) != 0)?;
        let dilated = (0..2).any(|i| window.dilation[i] != 1 && window.kernel[i] != 1);
        if dilated && function == "max_pool" {
            return Err("its window is dilated, which pools of the language are not".into());
        }
        let (mut layer, [channels, mut height, mut width]) = self.picture(&x)?;
        let mut own = window;
        let padded = (0..2).any(|i| window.begin[i] + window.end[i] > 0);
        if function == "avg_pool" && node.int("count_include_pad").unwrap_or(0) != 0 && padded {
            // Cells of the padding count: they become part of the image.
            layer = self.pad_layer(layer, [channels, height, width], [window.begin, window.end], 0.0);
            height += window.begin[0] + window.end[0];
            width += window.begin[1] + window.end[1];
            own = Window { begin: [0; 2], end: [0; 2], ..window };
        }
        let image = [height, width];
        let fits = |ceil: bool| (0..2).all(|i| own.size_of(i, image[i], ceil) == Some(own.size[i]));
        let ceil = fits(true);
        if dilated || !(ceil || fits(false)) {
            return match function {
                "max_pool" => self.widened(&x, (layer, [channels, height, width]), own),
                _ => self.averaged(&x, (layer, [channels, height, width]), own),
            };
        }
        let layer = self.pool_layer(Some(node), function, layer, channels, own, ceil);
        Ok(View::plain(layer, &own.shape(&x, channels)))
    }

    fn pool_layer(
        &mut self,
        node: Option<&Node>,
        function: &'static str,
        layer: LayerId,
        channels: usize,
        own: Window,
        ceil: bool,
    ) -> LayerId {
        let args = Args::pooling(own.kernel, own.stride, own.begin, ceil);
        let dims = vec![channels, own.size[0], own.size[1]];
        match node {
            Some(node) => self.layer(node, function, args, layer, dims),
            None => self.weighted(None, function, args, vec![layer], dims, vec![]),
        }
    }

    /// A pool whose padding is more on one side than windows of one padding make: of maxima, the image is padded with
    /// numbers that none of its own is below.
    fn widened(&mut self, x: &View, (layer, [c, h, w]): (LayerId, [usize; 3]), own: Window) -> Mapped {
        // As far as the last windows reach.
        let image = [h, w];
        let end: [usize; 2] = std::array::from_fn(|i| {
            ((own.size[i] - 1) * own.stride[i] + own.kernel[i]).saturating_sub(image[i] + own.begin[i])
        });
        let layer = self.pad_layer(layer, [c, h, w], [own.begin, end], LOWEST);
        let inner = Window { begin: [0; 2], end: [0; 2], ..own };
        let image = [h + own.begin[0] + end[0], w + own.begin[1] + end[1]];
        if (0..2).any(|i| inner.size_of(i, image[i], false) != Some(own.size[i])) {
            return Err("its windows have no counterpart".into());
        }
        let layer = self.pool_layer(None, "max_pool", layer, c, inner, false);
        Ok(View::plain(layer, &own.shape(x, c)))
    }

    /// A mean over windows that no pool of the language has: of rows, then of columns, each by fixed factors.
    fn averaged(&mut self, x: &View, (layer, [c, h, w]): (LayerId, [usize; 3]), own: Window) -> Mapped {
        let mut view = View::plain(layer, &[x.batch(), c, h, w]);
        if (0..2).any(|i| own.size[i].saturating_mul(own.kernel[i]) > MOST_TAPS) {
            return Err("its windows are too large".into());
        }
        for (i, image) in [h, w].into_iter().enumerate() {
            let row = |o: usize| {
                let taps = (0..own.kernel[i]).map(|tap| o * own.stride[i] + tap * own.dilation[i]);
                let cells = taps.filter_map(|at| at.checked_sub(own.begin[i]).filter(|at| *at < image));
                let cells: Vec<usize> = cells.collect();
                cells.iter().map(|&at| (at, 1.0 / cells.len() as f32)).collect()
            };
            view = self.along(&view, 2 + i, &(0..own.size[i]).map(row).collect())?;
        }
        Ok(view.reshaped(&own.shape(x, c)).ok_or("its windows have no counterpart")?)
    }

    /// Translates pools over the whole map.
    pub(super) fn global_pool(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let axes: Vec<usize> = (2..x.shape.len()).collect();
        self.reduced(Some(node), &x, &axes, if node.op == "GlobalMaxPool" { "max" } else { "mean" }, true)
    }
}

/// Most cells of all windows of an axis.
const MOST_TAPS: usize = 1 << 22;
/// The least number that `pad` takes.
pub(super) const LOWEST: f32 = -1e30;
