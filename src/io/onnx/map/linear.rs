//! Fully connected layers.

use super::super::read::Node;
use super::view::View;
use super::{Map, Mapped, names, tensor};
use crate::io::sheet::{Arg, Args, turned};

impl Map<'_> {
    /// Translates Gemm.
    pub(super) fn gemm(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let weights = self.needed_constant(node, 1)?;
        let bias = self.constant(node, 2)?;
        if node.int("transA").unwrap_or(0) != 0 {
            return Err("it multiplies its first operand transposed, across images".into());
        }
        let [rows, columns] = weights.dims[..] else { return Err("its weights are no matrix".into()) };
        let transposed = node.int("transB").unwrap_or(0) != 0;
        let (mut alpha, mut beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        // Ours: the mean over masks, whose rate is the layer's and not the weights'.
        let rate = (names::ours(self.net) && node.doc == "drop_connect").then_some(1.0 - alpha);
        if rate.is_some() {
            (alpha, beta) = (1.0, 1.0);
        }
        let numbers: Vec<f32> = weights.as_floats().into_iter().map(|v| v * alpha).collect();
        let (inputs, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        let matrix = if transposed { numbers } else { turned(&numbers, rows, columns) };
        let bias = bias.map(|bias| {
            let own = bias.as_floats();
            let fits = bias.dims.iter().rev().skip(1).all(|&d| d == 1) && [1, outputs].contains(&own.len());
            let wide = (0..outputs).map(|i| beta * own[i % own.len().max(1)]);
            if fits { Ok(wide.collect()) } else { Err(format!("its bias is {:?} for {outputs} features", bias.dims)) }
        });
        let made = self.product_of(node, &x, (matrix, inputs, outputs), bias.transpose()?)?;
        if alpha == 1.0 && beta == 1.0 {
            self.state(node, made.layer, if transposed { 0 } else { 1 });
        }
        if let Some(rate) = rate {
            let layer = &mut self.sheet.layers[made.layer];
            layer.function = "drop_connect";
            layer.args = std::mem::take(&mut layer.args).with("rate", Arg::Float(rate));
        }
        Ok(made)
    }

    /// Translates MatMul with a constant matrix.
    pub(super) fn mat_mul(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let weights = self.needed_constant(node, 1)?;
        let [ref more @ .., rows, columns] = weights.dims[..] else { return Err("its weights are no matrix".into()) };
        if more.iter().any(|&d| d != 1) {
            return Err(format!("its weights are several matrices: {:?}", weights.dims).into());
        }
        let matrix = turned(&weights.as_floats(), rows, columns);
        if x.image().len() < 2 {
            let made = self.product_of(node, &x, (matrix, rows, columns), None)?;
            self.state(node, made.layer, weights.dims.len() - 1);
            return Ok(made);
        }
        // The last axis of an image with its channels last: a 1x1 convolution.
        let last = x.shape.len() - 1;
        let Some([1, channels, rest]) = x.run(&[last]) else {
            return Err("it multiplies an axis that is not the channels'".into());
        };
        if channels != rows {
            return Err(format!("its weights have {rows} rows for {channels} channels").into());
        }
        let dims = self.image_with(x.layer, channels, rest);
        let matrix = self.permuted(&x, &[last], matrix, columns);
        let operand = self.shaped(x.layer, &dims);
        let args = Args::default().with("channels", Arg::Int(columns)).with("bias", Arg::Bool(false));
        let name = names::of_weights(self.net, node, self.weights_name(node));
        let params = vec![("weight", tensor(&[columns, rows, 1, 1], matrix))];
        let layer = self.weighted(name, "cccp", args, vec![operand], vec![columns, dims[1], dims[2]], params);
        self.state(node, layer, weights.dims.len() - 1);
        Ok(x.with_channels(layer, last, columns))
    }

    /// Adds a layer that multiplies the features of an image; the matrix is `[out, in]`.
    fn product_of(
        &mut self,
        node: &Node,
        x: &View,
        (matrix, inputs, outputs): (Vec<f32>, usize, usize),
        bias: Option<Vec<f32>>,
    ) -> Mapped {
        let [features] = *x.image() else {
            return Err(format!("it multiplies values of {:?}, not features", x.image()).into());
        };
        if features != inputs || outputs == 0 {
            return Err(format!("its weights are for {inputs} features, but {features} flow in").into());
        }
        // Features in another order than they lie in memory: so are the weights.
        let matrix = self.permuted(x, &[1], matrix, outputs);
        let layer = self.shaped(x.layer, &[features]);
        let mut args = Args::default().with("features", Arg::Int(outputs));
        let mut params = vec![("weight", tensor(&[outputs, inputs], matrix))];
        match bias {
            Some(bias) => params.push(("bias", tensor(&[outputs], bias))),
            None => args = args.with("bias", Arg::Bool(false)),
        }
        let name = names::of_weights(self.net, node, self.weights_name(node));
        let layer = self.weighted(name, "linear", args, vec![layer], vec![outputs], params);
        Ok(View::plain(layer, &[x.batch(), outputs]))
    }

    /// Brings the columns of a matrix into the order in which the axes of `x` lie in memory.
    fn permuted(&self, x: &View, axes: &[usize], matrix: Vec<f32>, rows: usize) -> Vec<f32> {
        let rest: Vec<usize> = (1..x.shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let own = x.without(x.layer, &rest, false);
        if own.in_order() {
            return matrix;
        }
        let places = own.places();
        let mut moved = vec![0.0; matrix.len()];
        for row in 0..rows {
            let at = row * places.len();
            places.iter().enumerate().for_each(|(i, place)| moved[at + place] = matrix[at + i]);
        }
        moved
    }
}
