//! How weights start and how fast they learn.

use super::Map;
use crate::io::caffe::proto::FillerParameter;
use crate::io::sheet::{Arg, Args};

/// Numbers of the ways to count the terms of a sum.
const FAN_OUT: i32 = 1;
const AVERAGE: i32 = 2;

impl Map<'_> {
    /// Adds what a product's fillers and multipliers say; `fans` are the numbers that flow into and out of a unit.
    pub(super) fn settings(
        &mut self,
        args: Args,
        i: usize,
        [weight, bias]: [Option<&FillerParameter>; 2],
        fans: [f64; 2],
        biased: bool,
    ) -> Args {
        let init = weight.map(|filler| init(filler, fans));
        let mut args = match init {
            None => args,
            Some(Some(init)) => args.unless("init", Arg::Call(init), Arg::Call("he".into())),
            Some(None) => {
                let kind = weight.map(|f| f.r#type().to_string()).unwrap_or_default();
                self.unsaid(i, &format!("the weights' filler `{kind}`"), "`he`");
                args
            }
        };
        if biased
            && bias.is_some_and(|f| f.mean() != 0.0 || f.value() != 0.0 || !["constant", ""].contains(&f.r#type()))
        {
            self.unsaid(i, "the biases' filler", "0");
        }
        if weight.is_some() || !self.it(i).it.param.is_empty() {
            args = self.rates(args, i, false, biased);
        }
        args
    }

    fn unsaid(&mut self, i: usize, what: &str, usual: &str) {
        let name = self.it(i).label();
        self.notes.push(format!("{what} of `{name}` has no counterpart: a training begins with {usual}"));
    }

    /// Adds the factors on rates and decays. A file that gives some means 1 by those that it leaves out. Slopes of a
    /// `prelu` decay as biases do.
    pub(super) fn rates(&self, args: Args, i: usize, slopes: bool, biased: bool) -> Args {
        let specs = &self.it(i).it.param;
        if specs.is_empty() && self.it(i).it.convolution_param.is_none() && self.it(i).it.inner_product_param.is_none()
        {
            return args;
        }
        let of =
            |k: usize| specs.get(k).map_or((1.0, 1.0), |s| (s.lr_mult.unwrap_or(1.0), s.decay_mult.unwrap_or(1.0)));
        let ((rate, decay), (bias_rate, bias_decay)) = (of(0), of(1));
        let args = args.unless("rate", Arg::Float(rate), Arg::Float(1.0));
        if slopes {
            return args.unless("bias_decay", Arg::Float(decay), Arg::Float(0.0));
        }
        let args = if biased { args.unless("bias_rate", Arg::Float(bias_rate), Arg::Float(1.0)) } else { args };
        let args = args.unless("decay", Arg::Float(decay), Arg::Float(1.0));
        if biased { args.unless("bias_decay", Arg::Float(bias_decay), Arg::Float(0.0)) } else { args }
    }
}

/// Says a filler in the language; `None` where it has none.
fn init(filler: &FillerParameter, [input, output]: [f64; 2]) -> Option<String> {
    let (mean, sparse) = (filler.mean(), filler.sparse.unwrap_or(-1));
    let kind = filler.r#type.as_deref().unwrap_or("constant");
    let terms = match filler.variance_norm() {
        FAN_OUT => output,
        AVERAGE => (input + output) / 2.0,
        _ => input,
    };
    let number = |v: f64| format!("{:?}", v as f32);
    Some(match kind {
        "constant" => format!("constant({:?})", filler.value()),
        "gaussian" if mean == 0.0 && sparse < 0 => format!("normal(std = {:?})", filler.std.unwrap_or(1.0)),
        "uniform" => {
            let (low, high) = (filler.min(), filler.max.unwrap_or(1.0));
            (low == -high).then(|| format!("uniform(limit = {high:?})"))?
        }
        "xavier" if filler.variance_norm() == AVERAGE => "xavier".into(),
        "xavier" => format!("uniform(limit = {})", number((3.0 / terms.max(1.0)).sqrt())),
        "msra" if terms == input => "he".into(),
        "msra" => format!("normal(std = {})", number((2.0 / terms.max(1.0)).sqrt())),
        _ => return None,
    })
}
