//! What flows into a network, and how its data layer prepares it.

use super::Channels;
use super::net::Layer;
use super::proto::TransformationParameter;
use crate::io::error::ImportError;
use crate::ops::check::{MOST_ELEMENTS, MOST_SIDE};

/// Sizes of an image, as far as a file says them.
type Sizes = Option<Vec<Option<usize>>>;

/// The input of a network.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The sizes of an image.
    pub dims: Vec<usize>,
    /// The number of images that the file says, for shapes that repeat it.
    pub batch: Option<usize>,
    /// How the data layer prepares images, as a list of the language, or `none`.
    pub prepare: Option<String>,
    /// What else should be known of it.
    pub note: Option<String>,
}

/// Reads the layer that images come from; `open` are the sizes of an image for files that leave some open.
pub fn input(layer: &Layer, top: usize, open: Option<&[usize]>, channels: Channels) -> Result<Input, ImportError> {
    let transform = transform(layer);
    let (batch, sizes) = sizes(layer, top, &transform);
    let shown = match &sizes {
        None => "no shape at all".to_string(),
        Some(sizes) => {
            let sizes: Vec<String> = sizes.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
            format!("[{}]", sizes.join(", "))
        }
    };
    let missing = || ImportError::Open { name: layer.label(), dims: shown.clone() };
    let dims: Vec<usize> = match (sizes, open) {
        (Some(sizes), Some(open)) => {
            let fits = sizes.len() == open.len() && sizes.iter().zip(open).all(|(d, o)| d.is_none_or(|d| d == *o));
            let wrong = || ImportError::Ports(format!("its input is {shown}, which {open:?} does not fit"));
            fits.then(|| open.to_vec()).ok_or_else(wrong)?
        }
        (None, Some(open)) => open.to_vec(),
        (Some(sizes), None) => sizes.into_iter().collect::<Option<_>>().ok_or_else(missing)?,
        (None, None) => return Err(missing()),
    };
    let elements = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let sides = dims.iter().all(|side| (1..=MOST_SIDE).contains(side));
    if !(1..=3).contains(&dims.len()) || !sides || elements.is_none_or(|n| n > MOST_ELEMENTS) {
        return Err(ImportError::Ports(format!("its input of {dims:?} is no image that a network takes")));
    }
    let mut input = Input { dims, batch, ..Input::default() };
    if ["Data", "ImageData"].contains(&layer.kind()) {
        prepare(&mut input, &transform, channels)?;
    }
    Ok(input)
}

/// Returns what a data layer does to images; older files say it among its own fields.
fn transform(layer: &Layer) -> TransformationParameter {
    if let Some(transform) = &layer.it.transform_param {
        return (**transform).clone();
    }
    let (scale, mean_file, crop_size) = match (&layer.it.data_param, &layer.it.image_data_param) {
        (Some(data), _) => (data.scale, data.mean_file.clone(), data.crop_size),
        (_, Some(data)) => (data.scale, data.mean_file.clone(), data.crop_size),
        _ => (None, None, None),
    };
    TransformationParameter { scale, mean_file, crop_size, ..TransformationParameter::default() }
}

/// Returns the number of images and their sizes.
fn sizes(layer: &Layer, top: usize, transform: &TransformationParameter) -> (Option<usize>, Sizes) {
    let it = &layer.it;
    let size = |d: &i64| usize::try_from(*d).ok().filter(|d| *d > 0);
    let shape = |dim: &[i64]| match dim {
        [] => (None, None),
        [batch, image @ ..] => (size(batch), Some(image.iter().map(size).collect())),
    };
    let side = |side: Option<u32>| side.filter(|s| *s > 0).map(|s| s as usize);
    let crop = side(transform.crop_size);
    match layer.kind() {
        "Input" => {
            let shapes = it.input_param.as_ref().map(|p| &p.shape[..]).unwrap_or_default();
            shapes.get(top).or(shapes.first()).map_or((None, None), |s| shape(&s.dim))
        }
        "DummyData" => {
            let Some(dummy) = &it.dummy_data_param else { return (None, None) };
            let number = |list: &[u32]| list.get(top).or(list.first()).map_or(0, |&n| i64::from(n));
            let four = [&dummy.num, &dummy.channels, &dummy.height, &dummy.width].map(|list| number(list));
            let given = dummy.shape.get(top).or(dummy.shape.first()).map(|s| &s.dim[..]);
            shape(given.unwrap_or(&four))
        }
        "MemoryData" => {
            let Some(memory) = &it.memory_data_param else { return (None, None) };
            let sides = [memory.channels, crop_or(memory.height, crop), crop_or(memory.width, crop)];
            (side(memory.batch_size), Some(sides.map(side).to_vec()))
        }
        "Data" | "ImageData" => {
            let colour = match (transform.force_color, transform.force_gray, &it.image_data_param) {
                (Some(true), ..) => Some(3),
                (_, Some(true), _) => Some(1),
                (.., Some(data)) => Some(if data.is_color.unwrap_or(true) { 3 } else { 1 }),
                _ => Some(transform.mean_value.len()).filter(|n| *n == 3),
            };
            let new = it.image_data_param.as_ref().map_or([None, None], |d| [side(d.new_height), side(d.new_width)]);
            (None, Some(vec![colour, crop.or(new[0]), crop.or(new[1])]))
        }
        _ => (None, None),
    }
}

fn crop_or(given: Option<u32>, crop: Option<usize>) -> Option<u32> {
    crop.and_then(|c| u32::try_from(c).ok()).or(given)
}

/// Says the preparation in the language: means are taken off first, then numbers are scaled.
fn prepare(input: &mut Input, transform: &TransformationParameter, order: Channels) -> Result<(), ImportError> {
    if let Some(file) = &transform.mean_file {
        let scale = transform.scale.filter(|s| *s != 1.0).map(|s| format!(", then multiplies by {s}"));
        input.note = Some(format!(
            "its data layer takes the mean image of `{file}` off{}, which is not read: say it as `--prepare \
             '[mean_std(mean = [red, green, blue], std = [...])]'`",
            scale.unwrap_or_default()
        ));
        return Ok(());
    }
    let scale = transform.scale.unwrap_or(1.0);
    if !(scale.is_normal() && scale > 0.0) {
        return Err(ImportError::Ports(format!("its data layer multiplies images by {scale}")));
    }
    let channels = input.dims[0];
    let mut mean = transform.mean_value.clone();
    if let [one] = mean[..] {
        mean = vec![one; channels];
    }
    input.prepare = Some(match mean.len() {
        0 if scale == 1.0 => "none".into(),
        0 => format!("[scale({scale:?})]"),
        n if n == channels => {
            if order == Channels::Bgr && channels == 3 {
                mean.reverse();
            }
            format!("[mean_std(mean = {mean:?}, std = {:?})]", vec![1.0 / scale; channels])
        }
        n => return Err(ImportError::Ports(format!("its data layer has {n} means for {channels} channels"))),
    });
    Ok(())
}
