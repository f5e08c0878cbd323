//! Initial values of parameters. Each parameter draws from a stream named by a hash of its name, so that the order of
//! parameters does not matter, and a layer added at the end changes no other layer's start.

use crate::Tensor;
use crate::data::{Purpose, stream};

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Gaussian with mean 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in `[-limit, limit]`.
    Uniform {
        /// The largest absolute value.
        limit: f64,
    },
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))` (Glorot & Bengio, 2010).
    Xavier,
    /// Gaussian with `std = sqrt(2 / fan_in)` (He et al., 2015).
    He,
    /// One value everywhere.
    Constant {
        /// The value.
        value: f64,
    },
    /// The first outputs give the inputs of their number unchanged, as far as there are both; the others are uniform in
    /// `±1/sqrt(fan_in)`, as PyTorch's layers start.
    Dirac,
    /// Filters that make patches of the training images uncorrelated; a training fits them (`train/whiten.rs`), and
    /// without data they are drawn as [`Init::He`].
    Whiten {
        /// Added to the variance along each eigenvector.
        epsilon: f64,
    },
}

/// A value that an engine keeps between runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// PyTorch's order: OIHW, `[out, in]`, `[positions, out, in, kh, kw]`.
    pub dims: Vec<usize>,
    /// How it is drawn.
    pub init: Init,
    /// Belongs to the optimiser: kept in checkpoints, not with the weights.
    pub state: bool,
}

/// Counts the numbers that flow into and out of one unit.
pub fn fans(dims: &[usize]) -> (usize, usize) {
    match *dims {
        [out, input] => (input, out),
        [out, input, kh, kw] | [_, out, input, kh, kw] => (input * kh * kw, out * kh * kw),
        [n] => (n, n),
        _ => (1, 1),
    }
}

/// Draws the initial values of a parameter; they depend on the seed and its name alone.
pub fn values(parameter: &Parameter, seed: u64) -> Tensor {
    let hash = fnv(parameter.name.as_bytes());
    let mut random = stream(seed, Purpose::Init, (hash >> 32) as u32, hash as u32);
    let (fan_in, fan_out) = fans(&parameter.dims);
    let mut tensor = Tensor::zeros(&parameter.dims);
    let mut fill = |draw: &mut dyn FnMut() -> f64| tensor.data.iter_mut().for_each(|v| *v = draw() as f32);
    match parameter.init {
        Init::Normal { std } => fill(&mut || f64::from(random.normal()) * std),
        Init::He | Init::Whiten { .. } => {
            let std = (2.0 / fan_in.max(1) as f64).sqrt();
            fill(&mut || f64::from(random.normal()) * std);
        }
        Init::Uniform { limit } => fill(&mut || (f64::from(random.unit()) * 2.0 - 1.0) * limit),
        Init::Xavier => {
            let limit = (6.0 / (fan_in + fan_out).max(1) as f64).sqrt();
            fill(&mut || (f64::from(random.unit()) * 2.0 - 1.0) * limit);
        }
        Init::Constant { value } => fill(&mut || value),
        Init::Dirac => {
            let limit = 1.0 / (fan_in.max(1) as f64).sqrt();
            fill(&mut || (f64::from(random.unit()) * 2.0 - 1.0) * limit);
            pass_on(&mut tensor);
        }
    }
    tensor
}

/// Makes the first outputs give the inputs of their number: a 1 in the middle of the window, 0 elsewhere.
fn pass_on(tensor: &mut Tensor) {
    let (inputs, window, middle) = match *tensor.dims {
        [_, inputs] => (inputs, 1, 0),
        [_, inputs, height, width] => (inputs, height * width, height / 2 * width + width / 2),
        _ => return,
    };
    for (output, filter) in tensor.data.chunks_exact_mut(inputs * window).take(inputs).enumerate() {
        filter.fill(0.0);
        filter[output * window + middle] = 1.0;
    }
}

/// Hashes bytes: FNV-1a, 64 bits.
pub fn fnv(bytes: &[u8]) -> u64 {
    fnv_more(FNV, bytes)
}

/// The hash of no bytes.
pub const FNV: u64 = 0xcbf2_9ce4_8422_2325;

/// Continues a hash with more bytes.
pub fn fnv_more(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dirac_is_the_identity_as_far_as_there_are_inputs() {
        let make = |dims: &[usize]| {
            values(&Parameter { name: "w".into(), dims: dims.to_vec(), init: Init::Dirac, state: false }, 5)
        };
        // torch.nn.init.dirac_ puts the 1 at half the size, rounded down.
        for (dims, middle) in [([5, 3, 3, 3], 4), ([2, 4, 2, 4], 6), ([3, 3, 1, 1], 0)] {
            let (tensor, window) = (make(&dims), dims[2] * dims[3]);
            for (place, &v) in tensor.data.iter().enumerate() {
                let (output, input) = (place / window / dims[1], place / window % dims[1]);
                let one = output == input && place % window == middle;
                let limit = 1.0 / ((dims[1] * window) as f32).sqrt();
                match output < dims[1] {
                    true => assert_eq!(v, f32::from(u8::from(one)), "{dims:?} {place}"),
                    false => assert!(v.abs() <= limit && v != 0.0, "{dims:?} {place}"),
                }
            }
        }
        assert_eq!(make(&[2, 3]).data, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn moments_follow_the_rules() {
        let make = |init| values(&Parameter { name: "w".into(), dims: vec![64, 32, 3, 3], init, state: false }, 5).data;
        let std = |v: &[f32]| (v.iter().map(|x| f64::from(x * x)).sum::<f64>() / v.len() as f64).sqrt();
        assert!((std(&make(Init::Normal { std: 0.05 })) / 0.05 - 1.0).abs() < 0.03);
        assert!((std(&make(Init::He)) / (2.0f64 / 288.0).sqrt() - 1.0).abs() < 0.03);
        let limit = (6.0f64 / (288.0 + 576.0)).sqrt() as f32;
        let xavier = make(Init::Xavier);
        assert!(xavier.iter().all(|v| v.abs() <= limit) && xavier.iter().any(|v| v.abs() > 0.99 * limit));
        let other = values(&Parameter { name: "v".into(), dims: vec![4], init: Init::He, state: false }, 5);
        assert_ne!(other.data[..], make(Init::He)[..4]);
    }
}
