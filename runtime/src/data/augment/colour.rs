//! Changes of colours as Pillow, and so torchvision on pictures, makes them: to bytes after each. Grey pictures have
//! one channel.

use super::picture::Picture;
use crate::image::grey;
use crate::spec::Grey;

/// Returns the byte at `factor` on the line from `low` (0) to `high` (1), cut off to a whole number as Pillow does.
fn blend(low: u8, high: u8, factor: f32) -> u8 {
    let difference = i32::from(high) - i32::from(low);
    // The cast keeps to 0 and 255.
    (f32::from(low) + factor * difference as f32) as u8
}

impl Picture {
    fn mapped(&mut self, map: impl Fn(u8) -> u8) {
        self.bytes.iter_mut().for_each(|v| *v = map(*v));
    }

    /// Returns the grey of each pixel.
    fn without_colours(&self) -> Vec<u8> {
        match self.split() {
            Some([red, green, blue]) => {
                let pixels = red.iter().zip(green).zip(blue);
                pixels.map(|((&r, &g), &b)| grey(&[r, g, b], Grey::Rec601)).collect()
            }
            None => self.bytes.clone(),
        }
    }

    /// Returns the planes of red, green and blue; `None` where it is grey.
    fn split(&self) -> Option<[&[u8]; 3]> {
        let plane = self.dims[1] * self.dims[2];
        let (red, rest) = (self.dims[0] == 3).then(|| self.bytes.split_at(plane))?;
        let (green, blue) = rest.split_at(plane);
        Some([red, green, blue])
    }

    /// Multiplies the brightness: a factor of 0 gives black, 1 leaves the picture as it is.
    pub fn brightness(&mut self, factor: f64) {
        self.mapped(|v| blend(0, v, factor as f32));
    }

    /// Multiplies the contrast: a factor of 0 gives the mean grey, 1 leaves the picture as it is.
    pub fn contrast(&mut self, factor: f64) {
        let grey = self.without_colours();
        let sum: u64 = grey.iter().map(|&v| u64::from(v)).sum();
        let mean = (sum as f64 / grey.len().max(1) as f64 + 0.5) as u8;
        self.mapped(|v| blend(mean, v, factor as f32));
    }

    /// Multiplies the saturation: a factor of 0 gives grey, 1 leaves the picture as it is.
    pub fn saturation(&mut self, factor: f64) {
        let grey = self.without_colours();
        let grey = grey.iter().cycle();
        self.bytes.iter_mut().zip(grey).for_each(|(v, &grey)| *v = blend(grey, *v, factor as f32));
    }

    /// Turns the circle of colours by this part of it. Grey pictures stay as they are.
    pub fn hue(&mut self, part: f64) {
        let Some([red, green, blue]) = self.split() else { return };
        let turn = (part * 255.0) as i32 as u8;
        let turned = |((&r, &g), &b): ((&u8, &u8), &u8)| {
            let [hue, saturation, value] = to_hsv([r, g, b]);
            from_hsv([hue.wrapping_add(turn), saturation, value])
        };
        let pixels: Vec<[u8; 3]> = red.iter().zip(green).zip(blue).map(turned).collect();
        self.bytes = (0..3).flat_map(|c| pixels.iter().map(move |p| p[c])).collect();
    }

    /// Sharpens: a factor of 0 smooths by a 3x3 filter that counts the middle five times, 1 leaves the picture as it
    /// is. The border stays.
    pub fn sharpness(&mut self, factor: f64) {
        let [_, height, width] = self.dims;
        if height < 3 || width < 3 {
            return;
        }
        for plane in self.bytes.chunks_exact_mut(height * width) {
            let source = plane.to_vec();
            for y in 1..height - 1 {
                for x in 1..width - 1 {
                    let rows = source[(y - 1) * width..].chunks(width).take(3);
                    let sum: u32 = rows.flat_map(|row| &row[x - 1..=x + 1]).map(|&v| u32::from(v)).sum();
                    let own = source[y * width + x];
                    let smooth = (2 * (sum + 4 * u32::from(own)) + 13) / 26;
                    plane[y * width + x] = blend(smooth as u8, own, factor as f32);
                }
            }
        }
    }

    /// Keeps the upper bits of each byte.
    pub fn posterize(&mut self, bits: u32) {
        let mask = (0xff00u16 >> bits) as u8;
        self.mapped(|v| v & mask);
    }

    /// Inverts the bytes from a threshold on.
    pub fn solarize(&mut self, threshold: f64) {
        self.mapped(|v| if f64::from(v) < threshold { v } else { 255 - v });
    }

    /// Stretches each channel to all that bytes can say.
    pub fn autocontrast(&mut self) {
        self.by_channel(|counts| {
            let low = counts.iter().position(|&n| n > 0)?;
            let high = counts.iter().rposition(|&n| n > 0).filter(|&high| high > low)?;
            let scale = 255.0 / (high - low) as f64;
            let offset = -(low as f64) * scale;
            Some(std::array::from_fn(|v| (v as f64 * scale + offset) as u8))
        });
    }

    /// Gives each channel about as many pixels of each value.
    pub fn equalize(&mut self) {
        self.by_channel(|counts| {
            let last = counts.iter().rev().find(|&&n| n > 0)?;
            let step = (counts.iter().sum::<usize>() - last) / 255;
            let mut sum = step / 2;
            let mut next = |v: usize| {
                let value = sum.checked_div(step).map_or(0, |value| value.min(255) as u8);
                sum += counts[v];
                value
            };
            (step > 0).then(|| std::array::from_fn(&mut next))
        });
    }

    /// Maps each channel by a table that is made from how often it has each value.
    fn by_channel(&mut self, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
        let plane = self.dims[1] * self.dims[2];
        for plane in self.bytes.chunks_exact_mut(plane.max(1)) {
            let mut counts = [0; 256];
            plane.iter().for_each(|&v| counts[usize::from(v)] += 1);
            if let Some(table) = table(&counts) {
                plane.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
            }
        }
    }
}

/// Turns red, green and blue into hue, saturation and value in bytes, rounded as Pillow does.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let range = f32::from(high - low);
    let distance = |v: u8| f32::from(high - v) / range;
    let hue = if r == high {
        distance(b) - distance(g)
    } else if g == high {
        (2.0 + f64::from(distance(r)) - f64::from(distance(b))) as f32
    } else {
        (4.0 + f64::from(distance(g)) - f64::from(distance(r))) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(high);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, high]
}

/// Reverses [`to_hsv`].
fn from_hsv([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let hue = (f64::from(hue) * 6.0 / 255.0) as f32;
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let (sector, part) = (hue.floor(), f64::from(hue - hue.floor()));
    let less = |by: f64| (f64::from(value) * (1.0 - saturation * by)).round() as u8;
    let (p, q, t) = (less(1.0), less(part), less(1.0 - part));
    match sector as u32 % 6 {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}
