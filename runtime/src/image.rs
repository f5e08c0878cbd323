//! Pictures as the network wants them: channels, size, numbers from 0 to 255.

use crate::spec::Resize;
use crate::{Error, Result};
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageReader, Limits, RgbImage};
use std::path::Path;

/// The longest side and the most memory that decoding may take.
const SIDE: u32 = 32_768;
const BYTES: u64 = 1 << 30;

/// Reads a PNG, JPEG or BMP (told by its contents) as `[channels, height, width]`, 0 to 255.
pub fn picture(path: &Path, dims: [usize; 3], resize: Resize) -> Result<Vec<f32>> {
    let file = crate::data::files::open(path)?;
    let mut reader = ImageReader::new(std::io::BufReader::new(file))
        .with_guessed_format()
        .map_err(|e| Error::file("read", path, &e))?;
    if reader.format().is_none() {
        return Err(Error::new(format!("{} is not a picture in a known format", path.display()))
            .with_help("PNG, JPEG and BMP are, and .npy arrays of float32"));
    }
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height, limits.max_alloc) = (Some(SIDE), Some(SIDE), Some(BYTES));
    reader.limits(limits);
    let image = reader.decode().map_err(|e| {
        Error::new(format!("{} is not a readable picture: {e}", path.display())).with_help("the file may be damaged")
    })?;
    fit(&image, dims, resize).map_err(|e| Error::new(format!("{}: {}", path.display(), e.message)))
}

/// A PNG of bytes, `[height, width, channels]` with 1 or 3 channels.
pub fn png(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Result<Vec<u8>> {
    let color = if channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width as u32, height as u32, color)
        .map_err(|e| Error::new(format!("cannot make a picture: {e}")))?;
    Ok(bytes)
}

/// Brings a picture to the size and the channels.
fn fit(image: &DynamicImage, [channels, height, width]: [usize; 3], resize: Resize) -> Result<Vec<f32>> {
    if !matches!(channels, 1 | 3) {
        return Err(Error::new(format!(
            "a picture has 1 or 3 channels, but the network's input has {channels}: take .npy"
        )));
    }
    let rgb = opaque(image);
    let (w, h) = (width as u32, height as u32);
    let rgb = match resize {
        _ if (rgb.width(), rgb.height()) == (w, h) => rgb,
        Resize::Stretch => imageops::resize(&rgb, w, h, FilterType::Triangle),
        Resize::Crop => {
            let factor = (f64::from(w) / f64::from(rgb.width())).max(f64::from(h) / f64::from(rgb.height()));
            let scaled = |side: u32, least: u32| ((f64::from(side) * factor).round() as u32).max(least);
            let (sw, sh) = (scaled(rgb.width(), w), scaled(rgb.height(), h));
            let large = imageops::resize(&rgb, sw, sh, FilterType::Triangle);
            imageops::crop_imm(&large, (sw - w) / 2, (sh - h) / 2, w, h).to_image()
        }
    };
    Ok(match channels {
        1 => imageops::grayscale(&rgb).pixels().map(|p| f32::from(p.0[0])).collect(),
        _ => (0..3).flat_map(|c| rgb.pixels().map(move |p| f32::from(p.0[c]))).collect(),
    })
}

/// Transparent pixels show white, as on a page.
fn opaque(image: &DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let rgba = image.to_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let alpha = u32::from(from.0[3]);
        for c in 0..3 {
            to.0[c] = ((u32::from(from.0[c]) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    rgb
}
