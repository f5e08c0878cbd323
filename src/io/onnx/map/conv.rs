//! Convolutions.

use super::super::read::Node;
use super::view::View;
use super::window::Window;
use super::{Map, Mapped, names, tensor};
use crate::io::sheet::{Arg, Args, LayerId, convolution};
use crate::ops;
use ninc_runtime::Tensor;

impl Map<'_> {
    /// Returns an image with its channels, rows and columns; a signal is one of one row.
    pub(super) fn picture(&mut self, view: &View) -> Mapped<(LayerId, [usize; 3])> {
        match *view.image() {
            [_, _] | [_, _, _] => {}
            ref other => return Err(format!("it works on images of {other:?}").into()),
        }
        let (layer, dims) = self.image(view)?;
        Ok((layer, [dims[0], dims[1], dims[2]]))
    }

    /// Translates Conv.
    pub(super) fn conv(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let weights = self.needed_constant(node, 1)?;
        let bias = self.constant(node, 2)?;
        let (layer, [channels, height, width]) = self.picture(&x)?;
        let spatial = &x.image()[1..];
        let [outputs, inputs, ref kernel @ ..] = weights.dims[..] else {
            return Err("its weights have no kernel".into());
        };
        let kernel: Vec<i64> = kernel.iter().map(|&k| k as i64).collect();
        if node.ints("kernel_shape").is_some_and(|given| !given.is_empty() && given != kernel) {
            return Err("its kernel_shape is not that of its weights".into());
        }
        let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(0);
        if groups == 0 || inputs * groups != channels || !outputs.is_multiple_of(groups) || outputs == 0 {
            return Err(format!("{groups} groups of weights {:?} do not fit {channels} channels", weights.dims).into());
        }
        let window = Window::of(node, &kernel, spatial, false)?;
        let (layer, padded) = self.padded(layer, [channels, height, width], &window)?;
        let pad = if padded { [0, 0] } else { window.begin };
        let own = ops::window::Window { kernel: window.kernel, stride: window.stride, pad, dilation: window.dilation };
        let (function, mut args) = convolution(outputs, &own, groups, node.doc.starts_with("conv"));
        let mut params =
            vec![("weight", tensor(&[outputs, inputs, window.kernel[0], window.kernel[1]], weights.as_floats()))];
        match bias {
            Some(bias) if bias.len() == outputs => params.push(("bias", tensor(&[outputs], bias.as_floats()))),
            Some(bias) => return Err(format!("its bias has {} numbers for {outputs} channels", bias.len()).into()),
            None => args = args.with("bias", Arg::Bool(false)),
        }
        let name = names::of_weights(self.net, node, self.weights_name(node));
        let dims = vec![outputs, window.size[0], window.size[1]];
        let layer = self.weighted(name, function, args, vec![layer], dims, params);
        self.state(node, layer, 0);
        if node.doc == "mlpconv" {
            let stem = node.name.rsplit_once('.').map_or("", |(stem, _)| stem);
            self.sheet.layers[layer].block = crate::io::sheet::identifier(stem);
        }
        Ok(View::plain(layer, &window.shape(&x, outputs)))
    }

    /// Pads an image where both sides of a window's padding differ in what comes out.
    fn padded(&mut self, layer: LayerId, [c, h, w]: [usize; 3], window: &Window) -> Mapped<(LayerId, bool)> {
        let same = |(i, size): (usize, usize)| {
            window.begin[i] == window.end[i] || window.size_of(i, size, false) == Some(window.size[i])
        };
        if [h, w].into_iter().enumerate().all(same) {
            return Ok((layer, false));
        }
        Ok((self.pad_layer(layer, [c, h, w], [window.begin, window.end], 0.0), true))
    }

    /// Adds a padding of `[top, left]` and `[bottom, right]` pixels.
    pub(super) fn pad_layer(
        &mut self,
        layer: LayerId,
        [c, h, w]: [usize; 3],
        [begin, end]: [[usize; 2]; 2],
        value: f32,
    ) -> LayerId {
        let args = Args::padding([begin, end], value);
        let dims = vec![c, h + begin[0] + end[0], w + begin[1] + end[1]];
        self.weighted(None, "pad", args, vec![layer], dims, vec![])
    }

    /// Adds a convolution without bias whose weights stand for a fixed linear map.
    pub(super) fn fixed(&mut self, layer: LayerId, kernel: [usize; 2], groups: usize, weights: Tensor) -> LayerId {
        let outputs = weights.dims[0];
        let function = if kernel == [1, 1] && groups == 1 { "cccp" } else { "conv" };
        let mut args = Args::default().with("channels", Arg::Int(outputs));
        if function == "conv" {
            args = args.with("kernel", Arg::Pair(kernel)).unless("groups", Arg::Int(groups), Arg::Int(1));
        }
        args = args.with("bias", Arg::Bool(false)).with("frozen", Arg::Bool(true));
        let [_, h, w] = self.sheet.layers[layer].dims[..] else { return layer };
        let dims = vec![outputs, h + 1 - kernel[0], w + 1 - kernel[1]];
        self.weighted(None, function, args, vec![layer], dims, vec![("weight", weights)])
    }
}
