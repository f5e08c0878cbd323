//! Pictures of numbers: test images, filters, large matrices. PNGs as data URLs.

use ninc_runtime::data::{Dataset, Pixels};
use ninc_runtime::image::png;
use ninc_runtime::init::Parameter;
use ninc_runtime::weights::Weights;

/// Encodes a PNG as a URL that holds it.
fn url(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Option<String> {
    png(width, height, channels, pixels).ok().map(|bytes| data_url(&bytes))
}

/// Returns a URL that holds a PNG.
pub fn data_url(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(png))
}

/// Encodes in base64 (RFC 4648), with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Shows an image of a data set as it is, before any preparation.
pub fn image(set: &Dataset, item: usize) -> Option<String> {
    let [channels, height, width] = set.images.dims;
    let mut values = vec![0.0; set.images.size()];
    set.copy(item, &mut values).ok()?;
    if matches!(set.images.pixels, Pixels::Floats(_)) {
        stretch(&mut values);
    }
    let shown = if channels == 3 { 3 } else { 1 };
    let plane = height * width;
    let pixel = |i: usize| values[(i % shown) * plane + i / shown].clamp(0.0, 255.0).round() as u8;
    let pixels: Vec<u8> = (0..shown * plane).map(pixel).collect();
    url(width, height, shown, &pixels)
}

/// Scales values so that the smallest becomes 0 and the largest 255.
fn stretch(values: &mut [f32]) {
    let (low, high) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    values.iter_mut().for_each(|v| *v = (*v - low) * scale);
}

pub struct Filters {
    pub name: String,
    pub count: usize,
    pub url: String,
    /// Pixels of the picture.
    pub width: usize,
}

/// The most filters that are shown.
const MOST: usize = 256;

/// Shows the first layer's weights as small pictures: of a convolution, or of a linear layer on the image's pixels.
/// Grey is 0; each filter is scaled by its largest value.
pub fn filters(parameters: &[Parameter], weights: &Weights, image: [usize; 3]) -> Option<Filters> {
    let first = parameters.iter().find(|p| !p.state && p.name.ends_with(".weight"))?;
    let tensor = weights.tensors.get(&first.name)?;
    let [count, channels, height, width] = match *tensor.dims.as_slice() {
        [o, i, h, w] if h * w > 1 => [o, i, h, w],
        [o, n] if n == image.iter().product::<usize>() => [o, image[0], image[1], image[2]],
        _ => return None,
    };
    let shown = if channels == 3 { 3 } else { 1 };
    let (size, count) = (channels * height * width, count.min(MOST));
    let columns = (count as f64).sqrt().ceil() as usize;
    let columns = columns.max(count.min(16)).min(24);
    let rows = count.div_ceil(columns);
    let (full_width, full_height) = (columns * (width + 1) + 1, rows * (height + 1) + 1);
    let mut pixels = vec![255u8; full_width * full_height * shown];
    for (filter, values) in tensor.data.chunks_exact(size).take(count).enumerate() {
        let largest = values.iter().fold(1e-12f32, |m, v| m.max(v.abs()));
        let (left, top) = ((filter % columns) * (width + 1) + 1, (filter / columns) * (height + 1) + 1);
        for y in 0..height {
            for x in 0..width {
                for c in 0..shown {
                    let value = values[(c * height + y) * width + x] / largest;
                    let at = ((top + y) * full_width + left + x) * shown + c;
                    pixels[at] = (127.5 + 127.5 * value).round() as u8;
                }
            }
        }
    }
    let url = url(full_width, full_height, shown, &pixels)?;
    Some(Filters { name: first.name.clone(), count, url, width: full_width })
}

/// Colours of right and wrong answers; people who see red as green tell them apart.
const RIGHT: [u8; 3] = [31, 111, 235];
const WRONG: [u8; 3] = [217, 72, 15];

/// Shows a large confusion matrix, a pixel for each cell; darker is more.
pub fn matrix(confusion: &[Vec<u32>]) -> (String, usize) {
    let size = confusion.len();
    let mut pixels = Vec::with_capacity(size * size * 3);
    for (label, row) in confusion.iter().enumerate() {
        let all = row.iter().sum::<u32>().max(1) as f64;
        for (answer, &n) in row.iter().enumerate() {
            let (colour, part) = (if label == answer { RIGHT } else { WRONG }, (f64::from(n) / all).sqrt());
            pixels.extend(colour.map(|c| (255.0 - (255.0 - f64::from(c)) * part).round() as u8));
        }
    }
    (url(size, size, 3, &pixels).unwrap_or_default(), size)
}

#[cfg(test)]
mod tests {
    use super::base64;

    /// The examples of RFC 4648.
    #[test]
    fn base64_of_the_standard() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (text, encoded) in cases {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
