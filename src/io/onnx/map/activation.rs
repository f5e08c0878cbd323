//! Functions of each element.

use super::super::read::{Const, Node};
use super::view::View;
use super::{Map, Mapped, tensor};
use crate::io::sheet::{Arg, Args};

impl<'n> Map<'n> {
    /// Adds a layer that takes each element for itself.
    pub(super) fn simple(&mut self, node: &Node, function: &'static str, x: &View) -> Mapped {
        self.pointwise(node, function, Args::default(), x)
    }

    /// Adds such a layer with arguments.
    pub(super) fn pointwise(&mut self, node: &Node, function: &'static str, args: Args, x: &View) -> Mapped {
        let dims = self.sheet.layers[x.layer].dims.clone();
        let layer = self.layer(node, function, args, x.layer, dims);
        Ok(x.of(layer))
    }

    /// Translates a function of each element.
    pub(super) fn activation(&mut self, node: &'n Node) -> Mapped {
        let x = self.view(node, 0)?;
        let (alpha, beta) = (node.float("alpha"), node.float("beta"));
        let none = Args::default;
        match node.op.as_str() {
            "Relu" => self.simple(node, "relu", &x),
            "Sigmoid" => self.simple(node, "sigmoid", &x),
            "Tanh" => self.simple(node, "tanh", &x),
            "LeakyRelu" => {
                let slope = alpha.unwrap_or(0.01);
                self.pointwise(node, "leaky_relu", none().unless("slope", Arg::Float(slope), Arg::Float(0.01)), &x)
            }
            "Elu" => {
                let alpha = alpha.unwrap_or(1.0);
                self.pointwise(node, "elu", none().unless("alpha", Arg::Float(alpha), Arg::Float(1.0)), &x)
            }
            "Selu" => {
                let alpha = alpha.unwrap_or(1.673_263_2);
                let elu = self.pointwise(node, "elu", none().with("alpha", Arg::Float(alpha)), &x)?;
                self.scaled(&elu, node.float("gamma").unwrap_or(1.050_701), 0.0)
            }
            "Celu" => {
                let alpha = alpha.unwrap_or(1.0);
                let x = self.scaled(&x, 1.0 / alpha, 0.0)?;
                let elu = self.simple(node, "elu", &x)?;
                self.scaled(&elu, alpha, 0.0)
            }
            "Gelu" => {
                let tanh = node.text("approximate").is_some_and(|word| word == "tanh");
                let args = none().unless("approximate", Arg::Bool(tanh), Arg::Bool(false));
                self.pointwise(node, "gelu", args, &x)
            }
            "HardSigmoid" => {
                let x = self.scaled(&x, alpha.unwrap_or(0.2), beta.unwrap_or(0.5))?;
                self.clipped(node, x, Some(0.0), Some(1.0))
            }
            "HardSwish" => {
                let gate = self.scaled(&x, 1.0 / 6.0, 0.5)?;
                let gate = self.clipped(node, gate, Some(0.0), Some(1.0))?;
                self.times(&x, &gate)
            }
            "Clip" => {
                let low = self.bound(node, 1, "min")?;
                let high = self.bound(node, 2, "max")?;
                self.clipped(node, x, low, high)
            }
            "Abs" => {
                let minus = self.scaled(&x, -2.0, 0.0)?;
                let minus = self.simple(node, "relu", &minus)?;
                self.plus(&x, &minus)
            }
            other => Err(format!("`{other}` of a value that is computed has no counterpart").into()),
        }
    }

    /// Adds the product of two values.
    pub(super) fn times(&mut self, a: &View, b: &View) -> Mapped {
        self.combined("mul", a, b)
    }

    /// Adds the sum of two values.
    pub(super) fn plus(&mut self, a: &View, b: &View) -> Mapped {
        self.combined("add", a, b)
    }

    fn combined(&mut self, function: &'static str, a: &View, b: &View) -> Mapped {
        let (x, y) = self.alike(a, b)?;
        let dims = self.sheet.layers[x].dims.clone();
        let layer = self.weighted(None, function, Args::default(), vec![x, y], dims, vec![]);
        Ok(a.of(layer))
    }

    /// Returns a limit, which newer operator sets give as an operand.
    fn bound(&self, node: &Node, i: usize, attribute: &str) -> Mapped<Option<f32>> {
        let given = self.constant(node, i)?;
        match given {
            Some(c) => Ok(Some(c.scalar().ok_or("its limit is not one number")?)),
            None => Ok(node.float(attribute)),
        }
    }

    /// Translates PRelu, whose slopes are broadcast.
    pub(super) fn prelu(&mut self, node: &Node) -> Mapped {
        let x = self.view(node, 0)?;
        let slopes = self.needed_constant(node, 1)?;
        let slopes = match (&slopes.dims[..], x.image()) {
            // By the text these are of the width; exporters and engines that mean channels write them so as well.
            (&[n], &[channels, .., width]) if n > 1 && x.image().len() > 1 => match (n == channels, n == width) {
                (true, true) => {
                    return Err(format!("its {n} slopes may be those of the channels or of the width").into());
                }
                (true, false) => slopes.reshaped(&[&[n], &vec![1; x.image().len() - 1][..]].concat()),
                _ => (*slopes).clone(),
            },
            _ => (*slopes).clone(),
        };
        self.prelu_of(node, &x, &slopes, node.input(1))
    }

    /// Adds a `prelu` with slopes that are broadcast; `name` is theirs in the file.
    pub(super) fn prelu_of(&mut self, node: &Node, x: &View, slopes: &Const, name: Option<&str>) -> Mapped {
        let own = self.channels(x, slopes)?;
        // One slope for all is one for each channel.
        let channels = self.sheet.layers[x.layer].dims[0];
        let values = if own.values.len() == 1 { vec![own.values[0]; channels] } else { own.values };
        let (count, rest) = (values.len(), x.elements() / values.len());
        let dims = self.dims_with(x.layer, count, rest);
        let operand = self.shaped(x.layer, &dims);
        let name = super::names::of_weights(self.net, node, name);
        let params = vec![("weight", tensor(&[count], values))];
        let layer = self.weighted(name, "prelu", Args::default(), vec![operand], dims, params);
        Ok(x.of(layer))
    }
}
