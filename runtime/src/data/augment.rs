//! Augmentation, of pictures as they are read and of prepared images. Each image draws from streams of its own, keyed
//! by seed, epoch and image, so that the result does not depend on threads, batches, or where training was resumed.

use super::{Dataset, Pixels};
use crate::philox::Stream;
use crate::spec::Augment;
use crate::{Error, Result};
use picture::Picture;

pub mod colour;
pub mod draw;
pub mod picture;

/// Splits the steps into those for pictures as they are read and those for prepared images after them.
pub fn stages(augment: &[Augment]) -> (&[Augment], &[Augment]) {
    let last = augment.iter().rposition(Augment::of_pictures);
    augment.split_at(last.map_or(0, |last| last + 1))
}

/// Returns the size at which pictures are read for these steps: twice their own where parts are cut out of files, so
/// that a part of a quarter of the area keeps what it shows.
pub fn read_dims(augment: &[Augment], set: &Dataset) -> [usize; 3] {
    let [channels, height, width] = set.images.dims;
    let cut = augment.iter().any(|step| matches!(step, Augment::RandomResizedCrop { .. }));
    match (&set.images.pixels, cut) {
        (Pixels::Files(..), true) => [channels, 2 * height, 2 * width],
        _ => set.images.dims,
    }
}

/// Refuses data that the steps for pictures cannot change: numbers that are not bytes, and other channels than those
/// of grey or colours.
pub fn check(augment: &[Augment], set: &Dataset) -> Result<()> {
    let (Some(step), dims) = (stages(augment).0.last(), set.images.dims) else { return Ok(()) };
    let word = step.word();
    if let Pixels::Floats(_) = set.images.pixels {
        let range = set.range();
        return Err(Error::new(format!("`{word}` changes pictures of bytes, but the data are floats from {range}"))
            .with_help("store them as bytes from 0 to 255 (dtype uint8), or leave it out of `augment`"));
    }
    match dims[0] {
        1 | 3 => Ok(()),
        channels => Err(Error::new(format!(
            "`{word}` changes grey and colour pictures, but the data have {channels} \
             channels"
        ))
        .with_help("leave it out of `augment`")),
    }
}

/// What the changes of one image are drawn from.
pub struct Draws {
    /// Its own random numbers.
    pub random: Stream,
    /// Is it mirrored this time, by a flip that alternates?
    pub mirrored: bool,
}

impl Draws {
    /// Draws for an image; one without an alternating flip.
    pub fn of(random: Stream) -> Draws {
        Draws { random, mirrored: false }
    }
}

/// Changes pictures of `from`, one after the other, to ones of the size of `to`; `draws` gives what each draws from.
pub fn pictures(
    steps: &[Augment],
    (from, to): ([usize; 3], [usize; 3]),
    bytes: &[u8],
    draws: impl Fn(usize) -> Draws,
) -> Vec<u8> {
    let mut changed = Vec::with_capacity(bytes.len());
    for (image, bytes) in bytes.chunks_exact(from.iter().product::<usize>().max(1)).enumerate() {
        let (mut draws, mut picture) = (draws(image), Picture { dims: from, bytes: bytes.to_vec() });
        steps.iter().for_each(|step| draw::change(step, &mut draws, [to[1], to[2]], &mut picture));
        changed.extend(picture.bytes);
    }
    changed
}

/// Applies all steps for prepared images to one image `[channels, height, width]`, by what is drawn for it.
pub fn apply(augment: &[Augment], draws: &mut Draws, dims: [usize; 3], pixels: &mut Vec<f32>) {
    augment.iter().for_each(|step| one(step, draws, dims, pixels));
}

fn one(step: &Augment, draws: &mut Draws, dims: [usize; 3], pixels: &mut Vec<f32>) {
    let [_, height, width] = dims;
    let Draws { random, mirrored } = draws;
    let offset = |random: &mut Stream, by: usize| random.below(2 * by as u32 + 1) as isize - by as isize;
    match step {
        // A window of the padded image is the image moved, with the border where it came from.
        Augment::PadCrop { pixels: by, .. } | Augment::Shift { pixels: by } => {
            let (down, right) = (offset(random, *by), offset(random, *by));
            match step {
                Augment::PadCrop { reflect: true, .. } => window(dims, pixels, down, right),
                _ => shift(dims, pixels, down, right),
            }
        }
        Augment::Flip if random.below(2) == 1 => mirror(width, pixels),
        Augment::AlternatingFlip if *mirrored => mirror(width, pixels),
        Augment::Flip | Augment::AlternatingFlip => {}
        Augment::Rotate { degrees } => {
            let angle = (f64::from(random.unit()) * 2.0 - 1.0) * degrees;
            rotate(dims, pixels, angle.to_radians());
        }
        Augment::BrightnessContrast { brightness, contrast } => {
            let mut around = |range: f64| (f64::from(random.unit()) * 2.0 - 1.0) * range;
            let (add, factor) = (around(*brightness) as f32, (1.0 + around(*contrast)) as f32);
            let mean = pixels.iter().sum::<f32>() / pixels.len() as f32;
            pixels.iter_mut().for_each(|v| *v = (*v - mean) * factor + mean + add);
        }
        Augment::Cutout { pixels: side } => {
            // The centre is anywhere, so the square may stick out (DeVries & Taylor, 2017).
            let (y, x) = (random.below(height as u32) as usize, random.below(width as u32) as usize);
            let span =
                |centre: usize, length: usize| centre.saturating_sub(side / 2)..(centre + side.div_ceil(2)).min(length);
            for plane in pixels.chunks_exact_mut(height * width) {
                for row in span(y, height) {
                    plane[row * width..(row + 1) * width][span(x, width)].fill(0.0);
                }
            }
        }
        // Needs the whole batch: `mixup::mix`.
        Augment::Mixup { .. } => {}
        // `pictures`, before.
        Augment::RandomResizedCrop { .. } | Augment::ColorJitter { .. } | Augment::RandAugment { .. } => {}
    }
}

/// Mirrors images left and right, whose rows are this wide.
pub fn mirror<T>(width: usize, pixels: &mut [T]) {
    pixels.chunks_exact_mut(width).for_each(<[T]>::reverse);
}

/// Moves the image by less than its size; what comes in from outside is the image mirrored at its outermost pixels,
/// which are not repeated.
pub fn window<T: Copy>([_, height, width]: [usize; 3], pixels: &mut [T], down: isize, right: isize) {
    let source = pixels.to_vec();
    let from = |to: usize, by: isize, length: usize| {
        let (place, last) = (to as isize - by, length as isize - 1);
        (if place > last { 2 * last - place } else { place.abs() }) as usize
    };
    let columns: Vec<usize> = (0..width).map(|x| from(x, right, width)).collect();
    for (from_plane, to_plane) in source.chunks_exact(height * width).zip(pixels.chunks_exact_mut(height * width)) {
        for (y, row) in to_plane.chunks_exact_mut(width).enumerate() {
            let origin = &from_plane[from(y, down, height) * width..][..width];
            row.iter_mut().zip(&columns).for_each(|(to, &x)| *to = origin[x]);
        }
    }
}

/// Moves the image; what comes in from outside is 0.
fn shift([_, height, width]: [usize; 3], pixels: &mut Vec<f32>, down: isize, right: isize) {
    if (down, right) == (0, 0) {
        return;
    }
    let source = std::mem::replace(pixels, vec![0.0; pixels.len()]);
    for (from, to) in source.chunks_exact(height * width).zip(pixels.chunks_exact_mut(height * width)) {
        for row in 0..height {
            let Some(origin) = row.checked_add_signed(-down).filter(|&r| r < height) else {
                continue;
            };
            let start = right.clamp(0, width as isize) as usize;
            let end = (width as isize + right).clamp(0, width as isize) as usize;
            let begin = (-right).clamp(0, width as isize) as usize;
            let count = end.saturating_sub(start);
            to[row * width + start..][..count].copy_from_slice(&from[origin * width + begin..][..count]);
        }
    }
}

/// Turns the image around its middle, with bilinear interpolation; outside it is 0.
fn rotate([_, height, width]: [usize; 3], pixels: &mut Vec<f32>, angle: f64) {
    let source = std::mem::replace(pixels, vec![0.0; pixels.len()]);
    let (sin, cos) = angle.sin_cos();
    let (middle_y, middle_x) = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
    for y in 0..height {
        for x in 0..width {
            let (dy, dx) = (y as f64 - middle_y, x as f64 - middle_x);
            let (from_y, from_x) = (cos * dy - sin * dx + middle_y, sin * dy + cos * dx + middle_x);
            let (top, left) = (from_y.floor(), from_x.floor());
            let (part_y, part_x) = ((from_y - top) as f32, (from_x - left) as f32);
            for (from, to) in source.chunks_exact(height * width).zip(pixels.chunks_exact_mut(height * width)) {
                let at = |row: f64, column: f64| {
                    let inside = row >= 0.0 && column >= 0.0 && row < height as f64 && column < width as f64;
                    if inside { from[row as usize * width + column as usize] } else { 0.0 }
                };
                let upper = at(top, left) * (1.0 - part_x) + at(top, left + 1.0) * part_x;
                let lower = at(top + 1.0, left) * (1.0 - part_x) + at(top + 1.0, left + 1.0) * part_x;
                to[y * width + x] = upper * (1.0 - part_y) + lower * part_y;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Purpose, stream};
    use super::*;

    #[test]
    fn a_shift_moves_and_fills_with_zeros() {
        let mut pixels: Vec<f32> = (1..=9).map(|v| v as f32).collect();
        shift([1, 3, 3], &mut pixels, 1, -1);
        assert_eq!(pixels, [0.0, 0.0, 0.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0]);
        shift([1, 3, 3], &mut pixels, 0, 7);
        assert_eq!(pixels, [0.0; 9]);
    }

    #[test]
    fn a_window_of_a_mirrored_border_is_numpys() {
        // numpy.pad(numpy.arange(1, 13).reshape(3, 4), 2, "reflect")[0:3, 3:7] and [4:7, 0:4].
        let image = || (1..=12).collect::<Vec<i32>>();
        let moved = |down, right| {
            let mut pixels = image();
            window([1, 3, 4], &mut pixels, down, right);
            pixels
        };
        assert_eq!(moved(2, -1), [10, 11, 12, 11, 6, 7, 8, 7, 2, 3, 4, 3]);
        assert_eq!(moved(-2, 2), [11, 10, 9, 10, 7, 6, 5, 6, 3, 2, 1, 2]);
        assert_eq!(moved(0, 0), image());
    }

    #[test]
    fn a_quarter_turn_moves_the_corner() {
        let mut pixels = vec![0.0; 9];
        pixels[0] = 1.0;
        rotate([1, 3, 3], &mut pixels, std::f64::consts::FRAC_PI_2);
        let corner = pixels.iter().position(|&v| v > 0.99);
        assert!(matches!(corner, Some(2 | 6)), "{pixels:?}");
    }

    #[test]
    fn streams_depend_on_epoch_and_image_alone() {
        let steps = [Augment::PadCrop { pixels: 2, reflect: false }, Augment::Flip, Augment::Cutout { pixels: 2 }];
        let image: Vec<f32> = (0..64).map(|v| v as f32 + 1.0).collect();
        let made = |epoch, index| {
            let mut pixels = image.clone();
            let mut draws = Draws::of(stream(3, Purpose::Augment, epoch, index));
            apply(&steps, &mut draws, [1, 8, 8], &mut pixels);
            pixels
        };
        assert_eq!(made(1, 5), made(1, 5));
        assert_ne!(made(1, 5), made(2, 5));
        assert_ne!(made(1, 5), made(1, 6));
    }
}
