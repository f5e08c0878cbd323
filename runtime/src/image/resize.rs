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
        let arch = pulp::Arch::new();
        let bytes = match self.channels {
            1 => arch.dispatch(Across::<1>::new(self, taps)),
            _ => arch.dispatch(Across::<3>::new(self, taps)),
        };
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

/// Bytes multiplied at a time: a multiple of 3, so that they are whole pixels of 1 and of 3 channels.
const LANES: usize = 24;

/// The rows of a picture, each to be made of another width.
struct Across<'a, const CHANNELS: usize> {
    raster: &'a Raster,
    /// For each pixel of a new row: the first byte that it takes, and the weights of it and of those behind it.
    taps: Vec<Taps>,
}

impl<const CHANNELS: usize> Across<'_, CHANNELS> {
    fn new(raster: &Raster, taps: Vec<Taps>) -> Across<'_, CHANNELS> {
        let by_bytes = |weights: Vec<u32>| weights.into_iter().flat_map(|weight| [weight; CHANNELS]).collect();
        let taps = taps.into_iter().map(|(first, weights)| (first * CHANNELS, by_bytes(weights))).collect();
        Across { raster, taps }
    }
}

// Compiled once for each width of vectors; the program takes the widest that its processor has.
impl<const CHANNELS: usize> pulp::WithSimd for Across<'_, CHANNELS> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.taps.len() * CHANNELS * self.raster.height);
        for row in self.raster.bytes.chunks_exact(self.raster.width * CHANNELS) {
            for (first, weights) in &self.taps {
                let sums: [u32; CHANNELS] = weighted(&row[*first..], weights);
                bytes.extend(sums.map(|sum| (sum >> BITS).min(255) as u8));
            }
        }
        bytes
    }
}

/// Sums up bytes by channels, with weights of [`BITS`] behind the point, and half a unit for rounding.
#[inline(always)]
fn weighted<const CHANNELS: usize>(bytes: &[u8], weights: &[u32]) -> [u32; CHANNELS] {
    let (many, last) = weights.as_chunks::<LANES>();
    let (many, last) = if many.len() < 2 { (&[][..], weights) } else { (many, last) };
    let mut lanes = [0; LANES];
    for (bytes, weights) in bytes.as_chunks::<LANES>().0.iter().zip(many) {
        for lane in 0..LANES {
            lanes[lane] += u32::from(bytes[lane]) * weights[lane];
        }
    }
    let mut sums = if many.is_empty() { [1 << (BITS - 1); CHANNELS] } else { by_channels(&lanes) };
    let pixels = bytes[LANES * many.len()..].as_chunks::<CHANNELS>().0;
    for (pixel, weights) in pixels.iter().zip(last.as_chunks::<CHANNELS>().0) {
        for c in 0..CHANNELS {
            sums[c] += u32::from(pixel[c]) * weights[0];
        }
    }
    sums
}

// Not a part of the loop before it, whose lanes the compiler would else arrange by channels and not in vectors.
#[inline(never)]
fn by_channels<const CHANNELS: usize>(lanes: &[u32; LANES]) -> [u32; CHANNELS] {
    let mut sums = [1 << (BITS - 1); CHANNELS];
    lanes.iter().enumerate().for_each(|(lane, sum)| sums[lane % CHANNELS] += sum);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::WithSimd;

    /// Sums one byte after the other, as the meaning says it.
    fn plainly(raster: &Raster, target: usize) -> Vec<u8> {
        let taps = taps(raster.width, target, 0..target);
        let of = |row: &[u8], c: usize, (first, weights): &Taps| {
            let sum: u32 =
                (0..weights.len()).map(|i| u32::from(row[(first + i) * raster.channels + c]) * weights[i]).sum();
            ((sum + (1 << (BITS - 1))) >> BITS).min(255) as u8
        };
        let rows = raster.bytes.chunks_exact(raster.width * raster.channels);
        rows.flat_map(|row| taps.iter().flat_map(move |t| (0..raster.channels).map(move |c| of(row, c, t)))).collect()
    }

    #[test]
    fn vectors_of_every_kind_give_the_same_bytes() {
        for (width, target) in
            [(1, 1), (1, 9), (7, 3), (8, 2), (24, 1), (25, 24), (100, 3), (311, 7), (1000, 2), (5, 40)]
        {
            for channels in [1, 3] {
                let byte = |i: usize| if i % 31 < 3 { 255 } else { (i * i * 7 + i * 13) as u8 };
                let raster =
                    Raster { width, height: 3, channels, bytes: (0..width * 3 * channels).map(byte).collect() };
                let expected = plainly(&raster, target);
                assert_eq!(raster.across(target, 0..target).bytes, expected, "{width} {target} {channels}");
                let taps = taps(width, target, 0..target);
                let scalar = match channels {
                    1 => Across::<1>::new(&raster, taps).with_simd(pulp::Scalar),
                    _ => Across::<3>::new(&raster, taps).with_simd(pulp::Scalar),
                };
                assert_eq!(scalar, expected, "{width} {target} {channels}");
            }
        }
    }
}
