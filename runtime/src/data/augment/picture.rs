//! A picture on its way through changes of pictures: bytes, before any preparation.

use crate::image::resize::Raster;

/// Bytes of a picture, `[channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// `[channels, height, width]`
    pub dims: [usize; 3],
    /// All of them.
    pub bytes: Vec<u8>,
}

/// A part of a picture: its first row and column, its height and its width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Picture {
    /// Returns its planes, one for each channel.
    pub(super) fn planes(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.dims[1] * self.dims[2])
    }

    /// Mirrors left and right.
    pub fn mirrored(&mut self) {
        super::mirror(self.dims[2], &mut self.bytes);
    }

    /// Cuts out a part and brings it to a size by the antialiased bilinear filter that all pictures are resized by.
    pub fn cropped(&self, part: Part, [height, width]: [usize; 2]) -> Picture {
        let row = |plane: &[u8], y: usize| plane[y * self.dims[2] + part.left..][..part.width].to_vec();
        let one = |plane: &[u8]| {
            let bytes = (part.top..part.top + part.height).flat_map(|y| row(plane, y)).collect();
            Raster { width: part.width, height: part.height, channels: 1, bytes }.resized(width, height).bytes
        };
        Picture { dims: [self.dims[0], height, width], bytes: self.planes().flat_map(one).collect() }
    }

    /// Takes pixel (x, y) from where an affine map leads, `(a·x + b·y + c, d·x + e·y + f)` of the pixels' middles;
    /// black where that is outside. Coordinates are rounded to 1/65536 as Pillow does.
    pub fn moved(&mut self, [a, b, c, d, e, f]: [f64; 6]) {
        let [_, height, width] = self.dims;
        let fixed = |v: f64| (v * 65_536.0 + 0.5).floor() as i64;
        let (right, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
        let start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
        let source = std::mem::take(&mut self.bytes);
        let place = |x: i64, y: i64, i: usize| (start[i] + x * right[i] + y * down[i]) >> 16;
        let inside = |v: i64, size: usize| usize::try_from(v).ok().filter(|&v| v < size);
        for plane in source.chunks_exact(height * width) {
            for y in 0..height as i64 {
                self.bytes.extend((0..width as i64).map(|x| {
                    let from = inside(place(x, y, 0), width).zip(inside(place(x, y, 1), height));
                    from.map_or(0, |(x, y)| plane[y * width + x])
                }));
            }
        }
    }

    /// Turns it around its middle, counterclockwise.
    pub fn turned(&mut self, degrees: f64) {
        let (sin, cos) = (-degrees.to_radians()).sin_cos();
        let (x, y) = (self.dims[2] as f64 / 2.0, self.dims[1] as f64 / 2.0);
        self.moved([cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y]);
    }
}
