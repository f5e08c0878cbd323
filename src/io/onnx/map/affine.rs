//! Factors and shifts by constants, each for some channels: a layer `affine` of the sheet, which the text does not
//! have. It is taken into the product before it, or becomes a convolution of one pixel whose groups are the channels.

use super::super::read::{Const, Data};
use super::view::{Factor, View, image_dims, product};
use super::{Map, Mapped, tensor};
use crate::io::sheet::{Args, LayerId};

/// Most channels of a layer of the language.
const MOST: usize = crate::ops::layer::MOST_CHANNELS as usize;

/// Numbers for channels: a value of `[channels, rest]` whose channels have a number each.
pub struct Channels {
    pub values: Vec<f32>,
    pub rest: usize,
}

impl Map<'_> {
    /// Returns a layer's value under the shape `dims`, adding a change of shape where it lies in another.
    pub(super) fn shaped(&mut self, layer: LayerId, dims: &[usize]) -> LayerId {
        self.sheet.shaped(layer, dims)
    }

    /// Returns the shape `[channels, height, width]` that a value has, or may be given, with this number of channels.
    pub(super) fn dims_with(&self, layer: LayerId, channels: usize, rest: usize) -> Vec<usize> {
        match self.sheet.layers[layer].dims[..] {
            [c, h, w] if c == channels && h * w == rest => vec![c, h, w],
            [f] if f == channels && rest == 1 => vec![f],
            _ => vec![channels, 1, rest],
        }
    }

    /// Like [`Map::dims_with`], always an image.
    pub(super) fn image_with(&self, layer: LayerId, channels: usize, rest: usize) -> Vec<usize> {
        match self.dims_with(layer, channels, rest) {
            dims if dims.len() == 3 => dims,
            _ => vec![channels, 1, rest],
        }
    }

    /// Returns the view's layer with its elements in the tensor's order, as `dims`.
    pub(super) fn plain(&mut self, view: &View, dims: &[usize]) -> Mapped<LayerId> {
        let view = self.ordered(view)?;
        Ok(self.shaped(view.layer, dims))
    }

    /// Returns the view as an image `[channels, height, width]`, or as features where it has one size.
    pub(super) fn image(&mut self, view: &View) -> Mapped<(LayerId, Vec<usize>)> {
        let dims = image_dims(view.image());
        Ok((self.plain(view, &dims)?, dims))
    }

    /// Lays out a constant that is broadcast over the view by channels.
    pub(super) fn channels(&self, view: &View, constant: &Const) -> Mapped<Channels> {
        let rank = view.shape.len();
        if constant.dims.len() > rank && constant.dims[..constant.dims.len() - rank].iter().any(|&d| d != 1) {
            return Err("a constant has more dimensions than the value".into());
        }
        let skip = constant.dims.len().saturating_sub(rank);
        let own = [vec![1; rank.saturating_sub(constant.dims.len())], constant.dims[skip..].to_vec()].concat();
        let fits = own.iter().zip(&view.shape).all(|(&c, &v)| c == 1 || c == v);
        if !fits {
            let (dims, shape) = (&constant.dims, &view.shape[1..]);
            return Err(format!("a constant of {dims:?} does not fit images of {shape:?}").into());
        }
        let mut numbers = constant.as_floats();
        if own[0] > 1 {
            let part = numbers.len() / own[0];
            if numbers.chunks(part.max(1)).any(|image| image != &numbers[..part]) {
                return Err("a constant differs from image to image".into());
            }
            numbers.truncate(part);
        }
        let varying: Vec<usize> = (1..rank).filter(|&axis| own[axis] > 1).collect();
        let (axes, rest) = match view.run(&varying) {
            Some([1, _, rest]) => (varying, rest),
            _ => ((1..rank).collect(), 1),
        };
        let count = product(&axes.iter().map(|&axis| view.shape[axis]).collect::<Vec<_>>());
        if count > MOST {
            return Err(format!("a constant of {:?} is too large", constant.dims).into());
        }
        let places = self.within(view, &axes).places();
        let mut values = vec![0.0; count];
        for (i, place) in places.into_iter().enumerate() {
            let mut at = (i, 0, 1);
            for &axis in axes.iter().rev() {
                let index = at.0 % view.shape[axis];
                at = (at.0 / view.shape[axis], at.1 + if own[axis] > 1 { index * at.2 } else { 0 }, at.2 * own[axis]);
            }
            values[place] = numbers[at.1];
        }
        Ok(Channels { values, rest })
    }

    /// The axes of a view alone, which are neighbours in memory.
    fn within(&self, view: &View, axes: &[usize]) -> View {
        let rest: Vec<usize> = (1..view.shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let mut whole = View { shape: view.shape.clone(), factors: view.factors.clone(), layer: view.layer };
        whole.factors[0] = vec![Factor { place: 0, size: 1 }];
        whole.without(view.layer, &rest, false)
    }

    /// Adds `x·scale + shift`.
    pub(super) fn affine(&mut self, view: &View, scale: Option<&Const>, shift: Option<&Const>) -> Mapped {
        let one = Const { dims: vec![], data: Data::Float(vec![1.0]), ..Const::floats(&[], vec![]) };
        let zero = Const { data: Data::Float(vec![0.0]), ..one.clone() };
        let given = (scale.unwrap_or(&one), shift.unwrap_or(&zero));
        let (scale, shift) = (self.channels(view, given.0)?, self.channels(view, given.1)?);
        let all = self.channels_of(view);
        let wide = |c: Channels, rest: usize| {
            c.values.iter().flat_map(|&v| std::iter::repeat_n(v, c.rest / rest)).collect::<Vec<f32>>()
        };
        let rest = scale.rest.min(shift.rest).min(view.elements() / all);
        let divides = scale.rest.is_multiple_of(rest) && shift.rest.is_multiple_of(rest);
        let rest = if divides { rest } else { 1 };
        if view.elements() / rest > MOST {
            return Err("its constants are too many".into());
        }
        let (scale, shift) = (wide(scale, rest), wide(shift, rest));
        let count = scale.len();
        let dims = self.dims_with(view.layer, count, rest);
        let x = self.shaped(view.layer, &dims);
        let params = vec![("scale", tensor(&[count], scale)), ("shift", tensor(&[count], shift))];
        let layer = self.weighted(None, "affine", Args::default(), vec![x], dims, params);
        Ok(view.of(layer))
    }

    /// Returns the first size of the value's layer: its channels.
    fn channels_of(&self, view: &View) -> usize {
        self.sheet.layers[view.layer].dims[0]
    }

    /// Adds `x·scale + shift` by single numbers.
    pub(super) fn scaled(&mut self, view: &View, scale: f32, shift: f32) -> Mapped {
        self.affine(view, Some(&Const::floats(&[], vec![scale])), Some(&Const::floats(&[], vec![shift])))
    }
}
