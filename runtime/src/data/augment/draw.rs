//! What is drawn for changes of pictures, in the proportions that torchvision draws in.

use super::Draws;
use super::picture::{Part, Picture};
use crate::philox::Stream;
use crate::spec::Augment;

/// The largest magnitude of `rand_augment`.
const STRONGEST: f64 = 30.0;

fn uniform(random: &mut Stream, low: f64, high: f64) -> f64 {
    low + (high - low) * f64::from(random.unit())
}

/// Changes a picture by one step, which is of pictures. What cuts parts out brings them to `size`, `[height, width]`.
pub fn change(step: &Augment, draws: &mut Draws, size: [usize; 2], picture: &mut Picture) {
    let Draws { random, mirrored } = draws;
    match step {
        Augment::Flip if random.below(2) == 1 => picture.mirrored(),
        Augment::AlternatingFlip if *mirrored => picture.mirrored(),
        Augment::RandomResizedCrop { scale, ratio } => {
            *picture = picture.cropped(part(random, picture.dims, *scale, *ratio), size);
        }
        Augment::ColorJitter { brightness, contrast, saturation, hue } => {
            jitter(random, [*brightness, *contrast, *saturation, *hue], picture);
        }
        Augment::RandAugment { ops, magnitude } => {
            for _ in 0..*ops {
                let operation = random.below(OPERATIONS);
                let negative = SIGNED.contains(&operation) && random.below(2) == 1;
                one_of(operation, *magnitude as f64 / STRONGEST, negative, picture);
            }
        }
        // Nothing was drawn, or it is a step for prepared images.
        _ => {}
    }
}

/// Draws a part, by its area and its ratio of width to height; after ten that do not fit, the largest in the middle
/// whose ratio does.
pub fn part(random: &mut Stream, [_, rows, columns]: [usize; 3], scale: [f64; 2], ratio: [f64; 2]) -> Part {
    let (tall, wide) = (rows as f64, columns as f64);
    for _ in 0..10 {
        let area = tall * wide * uniform(random, scale[0], scale[1]);
        let ratio = uniform(random, ratio[0].ln(), ratio[1].ln()).exp();
        let side = |area: f64| area.sqrt().round_ties_even() as usize;
        let (width, height) = (side(area * ratio), side(area / ratio));
        if (1..=columns).contains(&width) && (1..=rows).contains(&height) {
            let top = random.below((rows - height + 1) as u32) as usize;
            let left = random.below((columns - width + 1) as u32) as usize;
            return Part { top, left, height, width };
        }
    }
    let own = wide / tall;
    let (height, width) = if own < ratio[0] {
        ((wide / ratio[0]).round_ties_even() as usize, columns)
    } else if own > ratio[1] {
        (rows, (tall * ratio[1]).round_ties_even() as usize)
    } else {
        (rows, columns)
    };
    let (height, width) = (height.clamp(1, rows), width.clamp(1, columns));
    Part { top: (rows - height) / 2, left: (columns - width) / 2, height, width }
}

/// Changes brightness, contrast, saturation and hue in an order that is drawn. Each range is the largest change.
fn jitter(random: &mut Stream, ranges: [f64; 4], picture: &mut Picture) {
    let mut order = [0, 1, 2, 3];
    random.shuffle(&mut order);
    let mut draw = |range: f64, middle: f64, least: f64| uniform(random, (middle - range).max(least), middle + range);
    let [brightness, contrast, saturation, hue] = ranges;
    let drawn =
        [draw(brightness, 1.0, 0.0), draw(contrast, 1.0, 0.0), draw(saturation, 1.0, 0.0), draw(hue, 0.0, -0.5)];
    for kind in order.into_iter().filter(|&kind| ranges[kind] > 0.0) {
        match kind {
            0 => picture.brightness(drawn[0]),
            1 => picture.contrast(drawn[1]),
            2 => picture.saturation(drawn[2]),
            _ => picture.hue(drawn[3]),
        }
    }
}

/// Operations of `rand_augment`; those from 1 to 9 go either way.
pub const OPERATIONS: u32 = 14;
const SIGNED: std::ops::RangeInclusive<u32> = 1..=9;

/// Does one operation of `rand_augment`, by its place in torchvision's list, with a strength from 0 to 1.
pub fn one_of(operation: u32, strength: f64, negative: bool, picture: &mut Picture) {
    let sign = if negative { -1.0 } else { 1.0 };
    let signed = |most: f64| sign * most * strength;
    let [_, height, width] = picture.dims;
    // The most that something moves in a picture of this side, in whole pixels.
    let pixels = |side: usize| signed(150.0 / 331.0 * side as f64).trunc();
    match operation {
        0 => {}
        1 => picture.moved([1.0, signed(0.3), 0.0, 0.0, 1.0, 0.0]),
        2 => picture.moved([1.0, 0.0, 0.0, signed(0.3), 1.0, 0.0]),
        3 => picture.moved([1.0, 0.0, -pixels(width), 0.0, 1.0, 0.0]),
        4 => picture.moved([1.0, 0.0, 0.0, 0.0, 1.0, -pixels(height)]),
        5 => picture.turned(signed(30.0)),
        6 => picture.brightness(1.0 + signed(0.9)),
        7 => picture.saturation(1.0 + signed(0.9)),
        8 => picture.contrast(1.0 + signed(0.9)),
        9 => picture.sharpness(1.0 + signed(0.9)),
        10 => picture.posterize(8 - (4.0 * strength).round_ties_even() as u32),
        11 => picture.solarize(255.0 - 255.0 * strength),
        12 => picture.autocontrast(),
        _ => picture.equalize(),
    }
}
