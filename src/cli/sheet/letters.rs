//! Letters as pixels, black on white.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Pixels of a line of text.
pub const HEIGHT: usize = RasterHeight::Size16.val();
/// Pixels of a letter.
pub const WIDTH: usize = get_raster_width(FontWeight::Regular, RasterHeight::Size16);

/// Writes a text, its upper left corner at (x, y); `set` is told each pixel and its grey. Letters of other scripts than
/// the Latin one are shown as `?`.
pub fn write(text: &str, x: usize, y: usize, set: &mut dyn FnMut(usize, usize, u8)) {
    for (i, letter) in text.chars().enumerate() {
        let raster = |letter| get_raster(letter, FontWeight::Regular, RasterHeight::Size16);
        let Some(raster) = raster(letter).or_else(|| raster('?')) else { continue };
        for (down, row) in raster.rows().enumerate() {
            row.iter().enumerate().for_each(|(right, &ink)| set(x + i * WIDTH + right, y + down, 255 - ink));
        }
    }
}
