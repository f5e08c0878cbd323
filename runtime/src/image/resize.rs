//! Pictures brought to another size, in whole numbers alone, so that every machine and every library that `ninc build`
//! makes (`src/library/driver/picture.driver` does the same) gives the same bytes.
//!
//! A pixel of the result is the mean of the pixels around its place, weighted by a triangle that is as wide as the
//! step between pixels of the result, and at least as wide as that between two of the source: the antialiased bilinear
//! filter of Pillow. Weights are rounded to 22 bits behind the point; rows are done first, then columns, each to bytes.

use std::ops::Range;

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// The first source pixel, and the weights of it and those behind it.
type Taps = (usize, Vec<u32>);

/// Computes what the pixels `part` of a row of `target` pixels take of one of `source` pixels.
fn taps(source: usize, target: usize, part: Range<usize>) -> Vec<Taps> {
    // Distances are counted in parts of 2·target to a source pixel, which makes all of them whole.
    let (n, m) = (source as i64, target as i64);
    let reach = 2 * n.max(m);
    let one = |i: i64| {
        // Pixel x has its middle at (2x + 1)·m, pixel i of the result at (2i + 1)·n.
        let middle = (2 * i + 1) * n;
        let first = ((middle - reach - m).div_euclid(2 * m) + 1).max(0);
        let last = ((middle + reach - m + 2 * m - 1).div_euclid(2 * m) - 1).min(n - 1);
        let weight = |x: i64| reach - ((2 * x + 1) * m - middle).abs();
        let sum: i64 = (first..=last).map(weight).sum();
        // They sum up to 2^22 and a little, which leaves room for bytes.
        let rounded = |x: i64| (((weight(x) << (BITS + 1)) + sum) / (2 * sum)) as u32;
        (first as usize, (first..=last).map(rounded).collect())
    };
    part.map(|i| one(i as i64)).collect()
}

/// A row-major picture of bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes of a pixel, which lie together.
    pub channels: usize,
    /// All of them.
    pub bytes: Vec<u8>,
}

impl Raster {
    /// Brings the picture to another size, both of whose sides are above 0.
    pub fn resized(self, width: usize, height: usize) -> Raster {
        self.middle([width, height], width, height)
    }

    /// Makes the middle of the picture brought to the size `whole`: `width` x `height` pixels, and nothing else of it,
    /// which of a long and narrow picture could be thousands of times that.
    pub fn middle(self, whole: [usize; 2], width: usize, height: usize) -> Raster {
        let (x, y) = ((whole[0] - width) / 2, (whole[1] - height) / 2);
        let same = whole[0] == self.width && width == self.width;
        let wide = if same { self } else { self.across(whole[0], x..x + width) };
        let same = whole[1] == wide.height && height == wide.height;
        if same { wide } else { wide.down(whole[1], y..y + height) }
    }

    /// Computes these columns of another width.
    fn across(&self, target: usize, part: Range<usize>) -> Raster {
        let width = part.len();
        let taps = taps(self.width, target, part);
        let mut bytes = Vec::with_capacity(width * self.height * self.channels);
        for row in self.bytes.chunks_exact(self.width * self.channels) {
            match self.channels {
                1 => across::<1>(row, &taps, &mut bytes),
                _ => across::<3>(row, &taps, &mut bytes),
            }
        }
        Raster { width, bytes, ..*self }
    }

    /// Computes these rows of another height.
    fn down(&self, target: usize, part: Range<usize>) -> Raster {
        let (row, height) = (self.width * self.channels, part.len());
        let mut bytes = Vec::with_capacity(row * height);
        let mut sums = vec![0u32; row];
        for (first, weights) in taps(self.height, target, part) {
            sums.fill(1 << (BITS - 1));
            for (source, &weight) in self.bytes[first * row..].chunks_exact(row).zip(&weights) {
                for (sum, &byte) in sums.iter_mut().zip(source) {
                    *sum += u32::from(byte) * weight;
                }
            }
            bytes.extend(sums.iter().map(|sum| (sum >> BITS).min(255) as u8));
        }
        Raster { height, bytes, ..*self }
    }
}

fn across<const CHANNELS: usize>(row: &[u8], taps: &[Taps], bytes: &mut Vec<u8>) {
    let (pixels, _) = row.as_chunks::<CHANNELS>();
    for (first, weights) in taps {
        let mut sums = [1u32 << (BITS - 1); CHANNELS];
        for (pixel, &weight) in pixels[*first..].iter().zip(weights) {
            for c in 0..CHANNELS {
                sums[c] += u32::from(pixel[c]) * weight;
            }
        }
        bytes.extend(sums.map(|sum| (sum >> BITS).min(255) as u8));
    }
}
