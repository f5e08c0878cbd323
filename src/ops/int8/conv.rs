//! Convolutions of bytes with signed 8-bit weights, and 1x1 convolutions behind them.

use super::{byte, bytes, of_bytes, of_floats, single, zero_point};
use crate::graph::interp::{EvalCx, Real, Tensor, Value};
use crate::lower::{LowerCx, Lowered};
use crate::ops::attr::attributes;
use crate::ops::conv::{Conv2d, weight_dims};
use crate::ops::error::ShapeError;
use crate::ops::facts::Receptive;
use crate::ops::reference::{self, Sliding};
use crate::ops::window::Window;
use crate::ops::{Case, OperatorDef, check};
use crate::recipes::int8;
use crate::types::{DType, Type};

attributes! {
    /// `(x[C, H, W], then for each stage w[O, C, kh, kw], factor[O], bias[O]) -> y[O, oh, ow]`: a convolution of bytes,
    /// then 1x1 convolutions of the bytes before. Weights are whole, -128 to 127; the padding is the byte that stands
    /// for 0. A sum of the products of raw bytes starts from its bias and wraps in 32 bits; as a float32 it is
    /// multiplied by its factor. That is the last stage's result where it is floats; bytes are it rounded to the
    /// nearest whole number, ties to even, plus their byte for 0, and 0 or 255 beyond.
    ConvInt8 {
        window: Window,
        /// The bytes that stand for 0: of x, of each stage's result that another reads, and of y where it is bytes.
        zeros: Vec<usize>,
        /// How many terms of each stage's sums may be added in 16 bits, whatever the bytes are, as
        /// [`ninc_runtime::formats::Formats::narrow`] says: 1, 2 or 4. None are stated where all are 1.
        narrow: Vec<usize> = vec![],
    }
}

impl ConvInt8 {
    /// Operands of a stage.
    pub const OPERANDS: usize = 3;

    /// Joins a convolution of one stage behind it. The zero of what it reads is that of the last result here.
    pub fn joined(&self, next: &ConvInt8) -> ConvInt8 {
        let zeros = [&self.zeros[..], &next.zeros[1..]].concat();
        let own = (0..self.zeros.len() - 1).map(|i| self.narrow_sums(i));
        let mut narrow: Vec<usize> = own.chain([next.narrow_sums(0)]).collect();
        if narrow.iter().all(|&terms| terms == 1) {
            narrow.clear();
        }
        ConvInt8 { window: self.window, zeros, narrow }
    }

    /// How many terms of a stage's sums may be added in 16 bits.
    fn narrow_sums(&self, stage: usize) -> usize {
        self.narrow.get(stage).copied().unwrap_or(1)
    }

    /// The window and the zeros of stage `i`: of its operand, and of its result unless that is floats.
    fn stage(&self, i: usize) -> (Window, usize, Option<usize>) {
        (if i == 0 { self.window } else { Window::ONE }, self.zeros[i], self.zeros.get(i + 1).copied())
    }

    /// Type of a stage's result.
    fn stage_type(&self, i: usize, x: &Type, own: &[Type]) -> Result<Type, ShapeError> {
        let [w, factor, bias] = own else { return Err("each stage takes three operands".into()) };
        let (window, _, to) = self.stage(i);
        bytes(x)?;
        let [outputs, ..] = weight_dims(w)?;
        check::weight(factor, &[outputs], "the factor")?;
        if *bias != Type::ints(false, &[outputs]) {
            return Err(format!("the bias is {bias}, but {} fits", Type::ints(false, &[outputs])).into());
        }
        let y = Conv2d { window, groups: 1 }.infer(&[of_floats(x), w.clone()])?;
        Ok(if to.is_some() { of_bytes(y) } else { y })
    }

    /// The sums of a stage with their channels.
    fn sums<T: Real>(&self, i: usize, x: &Tensor<i32>, own: &[&Value<T>], y: &[usize]) -> Vec<i32> {
        let (window, zero, _) = self.stage(i);
        let ([images, inputs, height, width], [_, outputs, oh, ow]) = (reference::nchw(&x.dims), reference::nchw(y));
        let shape = Sliding {
            images,
            inputs,
            size: [height, width],
            outputs,
            output: [oh, ow],
            groups: 1,
            window,
            unshared: false,
        };
        // Around the image there are zeros when `zero` is taken from all bytes; the bias has it off.
        let centred: Vec<f64> = x.data.iter().map(|&v| f64::from(v - zero as i32)).collect();
        let whole: Vec<f64> = own[0].real().data.iter().map(|w| w.f64().trunc()).collect();
        let mut sums = vec![0.0; images * outputs * oh * ow];
        let terms = whole.len() / outputs;
        reference::each_plane([images, outputs, oh * ow], |channel, places| {
            let weights: f64 = whole[channel * terms..][..terms].iter().sum();
            sums[places].fill(f64::from(own[2].int().data[channel]) + zero as f64 * weights);
        });
        shape.forward(&centred, &whole, &mut sums);
        sums.into_iter().map(|sum| sum as i64 as i32).collect()
    }
}

impl OperatorDef for ConvInt8 {
    crate::ops::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, ShapeError> {
        let Some((x, params)) = operands.split_first() else { return Err("no operands".into()) };
        let stages = params.len() / ConvInt8::OPERANDS;
        if stages == 0 || ![stages, stages + 1].contains(&self.zeros.len()) {
            return Err(format!("{} zeros for {stages} stages", self.zeros.len()).into());
        }
        self.zeros.iter().try_for_each(|&zero| zero_point(zero))?;
        let stages = params.chunks(ConvInt8::OPERANDS).enumerate();
        stages.into_iter().try_fold(x.clone(), |x, (i, own)| self.stage_type(i, &x, own))
    }

    fn eval<T: Real>(&self, cx: &EvalCx, operands: &[&Value<T>]) -> Value<T> {
        let mut x = operands[0].int().clone();
        for (i, own) in operands[1..].chunks(ConvInt8::OPERANDS).enumerate() {
            let types = own.iter().map(|v| Type { dtype: dtype(v), ..Type::shared(v.dims()) }).collect::<Vec<_>>();
            let image = of_bytes(Type::batched(&x.dims[1..]));
            let ty = self.stage_type(i, &image, &types).expect("infer has checked the stages");
            let dims = ty.full_dims(cx.batch);
            let (sums, places) = (self.sums(i, &x, own, &dims), dims[2] * dims[3]);
            let scaled = |(at, sum): (usize, i32)| sum as f32 * single(own[1], at / places % dims[1]);
            let scaled = sums.into_iter().enumerate().map(scaled);
            let Some(zero) = self.stage(i).2 else {
                return reference::result(cx, scaled.map(f64::from).collect());
            };
            x = Tensor { data: scaled.map(|v| byte(v, zero)).collect(), dims };
        }
        Value::Int(x)
    }

    crate::ops::first_order_only!();
    crate::ops::same_in_training!();

    fn lower(&self, cx: &mut LowerCx) -> Lowered {
        int8::conv(cx, &self.window, &self.zeros, &self.narrow)
    }

    fn multiply_adds(&self, operands: &[Type], result: &Type) -> u64 {
        // 1x1 convolutions keep the size of the map.
        let places = result.dims[1..].iter().product::<usize>() as u64;
        let weights = operands[1..].iter().step_by(ConvInt8::OPERANDS);
        places * weights.map(|w| w.elements() as u64).sum::<u64>()
    }

    crate::ops::usual!(factors, elements, storage, reads_bf16, memory, folding);

    fn receptive(&self, _operands: &[Type]) -> Receptive {
        Receptive::Window(self.window)
    }

    fn cases() -> Vec<Case> {
        let case = |kernel: usize, stride: usize, channels: &[usize], zeros: &[usize]| {
            let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: [kernel / 2; 2], dilation: [1, 1] };
            let mut operands = vec![of_bytes(Type::batched(&[channels[0], 6, 7]))];
            for (i, pair) in channels.windows(2).enumerate() {
                let kernel = if i == 0 { kernel } else { 1 };
                operands.push(Type::shared(&[pair[1], pair[0], kernel, kernel]));
                operands.extend([Type::shared(&pair[1..]), Type::ints(false, &pair[1..])]);
            }
            Case::new(ConvInt8 { window, zeros: zeros.to_vec(), narrow: vec![] }, 2, &operands)
        };
        let apart = {
            let window = Window { kernel: [2, 3], stride: [1, 1], pad: [1, 2], dilation: [2, 2] };
            let params = [Type::shared(&[9, 5, 2, 3]), Type::shared(&[9]), Type::ints(false, &[9])];
            let operands = [&[of_bytes(Type::batched(&[5, 6, 7]))], &params[..]].concat();
            Case::new(ConvInt8 { window, zeros: vec![3, 9], narrow: vec![] }, 2, &operands)
        };
        vec![
            case(3, 1, &[3, 10], &[7]),
            case(5, 2, &[1, 33], &[0, 128]),
            case(1, 1, &[64, 20, 6], &[0, 0, 0]),
            case(3, 1, &[4, 40, 9, 5], &[200, 0, 3]),
            apart,
        ]
    }
}

fn dtype<T>(value: &Value<T>) -> DType {
    match value {
        Value::Real(_) => DType::F32,
        Value::Int(_) => DType::I32,
    }
}
