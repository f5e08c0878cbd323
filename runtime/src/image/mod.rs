//! Pictures as the network wants them: upright, opaque, with its channels and size, numbers from 0 to 255.

pub mod disk;
mod ends;
mod jpeg;
pub mod kept;
pub mod print;
pub mod profile;
pub mod resize;

use crate::data::files;
use crate::data::look::Look;
use crate::spec::{Grey, Pictures, Resize};
use crate::{Error, Result, npy};
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
};
use print::Print;
use resize::Raster;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

/// The formats that are read, for messages. Of several pictures in one file the first is.
pub const KINDS: &str = "PNG, JPEG, BMP, WebP, GIF, TIFF and QOI";

/// The longest side, and the most bytes of decoded pixels and of a file: 179 million pixels of red, green and blue.
const SIDE: u32 = 32_768;
const BYTES: u64 = 1 << 29;
/// Memory that a decoder may take besides its pixels, if that is more than they take.
const WORK: u64 = 32 << 20;

/// Reads a picture (its format told by its contents) as `[channels, height, width]`.
pub fn picture(path: &Path, dims: [usize; 3], pictures: &Pictures) -> Result<Vec<u8>> {
    of_contents(&contents(path)?, path, dims, pictures)
}

/// Reads a picture's file, as large as one may be.
pub fn contents(path: &Path) -> Result<Vec<u8>> {
    files::read(path, BYTES)
}

/// Like [`picture`], of a file's contents; `path` is for messages.
pub fn of_contents(bytes: &[u8], path: &Path, dims: [usize; 3], pictures: &Pictures) -> Result<Vec<u8>> {
    let image = decode(bytes, path)?;
    fit(image, dims, pictures).map_err(|e| Error::new(format!("{}: {}", path.display(), e.message)))
}

/// Returns the width and the height that a picture's head states, without decoding it; `None` where none is readable.
pub fn extent(bytes: &[u8]) -> Option<[u64; 2]> {
    let (width, height) = headed(Cursor::new(bytes), image::guess_format(bytes).ok()?).ok()?.dimensions();
    Some([u64::from(width), u64::from(height)])
}

/// What a picture is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Pixels of a row, as a viewer shows it.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Has one pixel of a thousand a colour that the eye sees?
    pub colour: bool,
}

/// Decodes a picture to say what it is like.
pub fn survey(path: &Path) -> Result<Seen> {
    let image = decode(&contents(path)?, path)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    // A compressed grey picture is a little off grey.
    let far = |p: &image::Rgb<u8>| p.0.iter().max().zip(p.0.iter().min()).is_some_and(|(high, low)| high - low > 16);
    let colour =
        image.color().has_color() && 1000 * image.into_rgb8().pixels().filter(|p| far(p)).count() > width * height;
    Ok(Seen { width, height, colour })
}

/// Looks at a picture and gives nothing but what is wrong with it. Where its head and how it ends tell nothing, it is
/// decoded.
pub fn look(path: &Path, how: Look) -> Result<()> {
    if how == Look::Heads {
        return ends_of(path);
    }
    let state = print::state(path)?;
    let bytes = contents(path)?;
    Print::remember(path, state, &bytes);
    let (start, end) = (&bytes[..bytes.len().min(START)], &bytes[bytes.len().saturating_sub(END)..]);
    let head = |format| opened(Cursor::new(&bytes), format).is_ok();
    match how == Look::Contents && is_usual(start, end, bytes.len() as u64, head) {
        true => Ok(()),
        false => decode(&bytes, path).map(|_| ()),
    }
}

/// Bytes of a file's start and end that [`look`] looks at.
const START: usize = 64;
const END: usize = 12;

/// Looks at the head and the end alone.
fn ends_of(path: &Path) -> Result<()> {
    let failed = |e| Error::file("read", path, &e);
    let mut file = files::open(path)?;
    let length = file.metadata().map_err(failed)?.len();
    let part = |file: &mut File, at: u64, size: usize| {
        let mut bytes = vec![0; size.min(length as usize)];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed)?;
        Ok::<_, Error>(bytes)
    };
    let (start, end) = (part(&mut file, 0, START)?, part(&mut file, length.saturating_sub(END as u64), END)?);
    let head = |format| file.rewind().is_ok() && opened(BufReader::new(&file), format).is_ok();
    if is_usual(&start, &end, length, head) { Ok(()) } else { decode(&contents(path)?, path).map(|_| ()) }
}

/// Does a file have a usual end, and a `head` that a decoder takes?
fn is_usual(start: &[u8], end: &[u8], length: u64, head: impl FnOnce(ImageFormat) -> bool) -> bool {
    let sound = |format| ends::usual(format, start, end, length) == Some(true) && head(format);
    length <= BYTES && image::guess_format(start).is_ok_and(sound)
}

/// Makes a decoder that has read a picture's head: a small file may hold a colour profile that takes all memory.
fn headed<'a, R: BufRead + Seek + 'a>(from: R, format: ImageFormat) -> image::ImageResult<impl ImageDecoder + 'a> {
    let mut reader = ImageReader::with_format(from, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(WORK);
    reader.limits(limits);
    reader.into_decoder()
}

/// Makes a decoder with bounds on size and memory, of a picture with pixels.
fn opened<'a, R: BufRead + Seek + 'a>(from: R, format: ImageFormat) -> image::ImageResult<impl ImageDecoder + 'a> {
    let mut decoder = headed(from, format)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE), Some(SIDE));
    // What is declared besides the size, as that of a TIFF's strips, explains no more memory than the size does.
    let pixels = decoder.total_bytes();
    limits.max_alloc = Some(pixels.saturating_add(pixels.max(WORK)));
    decoder.set_limits(limits)?;
    let unusable = |what: String| image::ImageError::IoError(std::io::Error::other(what));
    match pixels {
        0 => Err(unusable("it has no pixels".into())),
        1..=BYTES => Ok(decoder),
        _ => Err(unusable(format!("{pixels} bytes of pixels are more than the limit of {BYTES}"))),
    }
}

/// Encodes bytes, `[height, width, channels]` with 1 or 3 channels, as a PNG.
pub fn png(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Result<Vec<u8>> {
    let color = if channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(pixels, width as u32, height as u32, color)
        .map_err(|e| Error::new(format!("cannot make a picture: {e}")))?;
    Ok(bytes)
}

/// Says why a picture cannot be decoded: in our words, and behind them in the decoder's, as far as its first colon.
fn unreadable(path: &Path, error: &ImageError) -> Error {
    let text = error.to_string();
    let own = text.strip_prefix("Format error decoding ").and_then(|rest| rest.split_once(": ")).map(|(_, own)| own);
    let reason: String = own.unwrap_or(&text).split(": ").next().unwrap_or_default().chars().take(80).collect();
    let (what, help) = match error {
        ImageError::Limits(_) => (
            format!("it has more than {SIDE} pixels a side, or needs more than {} MiB decoded", BYTES >> 20),
            "make it smaller",
        ),
        ImageError::Unsupported(_) => (format!("it is of a kind that is not read ({reason})"), "save it as a PNG"),
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ("it is cut short".into(), "get the file again")
        }
        ImageError::IoError(e) => (e.to_string(), "the file may be damaged"),
        _ => (format!("its data are damaged ({reason})"), "get the file again"),
    };
    Error::new(format!("{} is not a readable picture: {what}", path.display())).with_help(help)
}

/// Decodes the whole picture, turned as its file says that it is to be shown. `path` is for messages.
fn decode(bytes: &[u8], path: &Path) -> Result<DynamicImage> {
    let Ok(format) = image::guess_format(bytes) else {
        let what = match bytes.starts_with(npy::MAGIC) {
            true => "is an array of NumPy, not a picture",
            false => "is not a picture in a known format",
        };
        return Err(Error::new(format!("{} {what}", path.display())).with_help(format!("{KINDS} are")));
    };
    let mut turned = None;
    match format {
        ImageFormat::Jpeg => jpeg::check(bytes).map_err(|what| files::cut(path, &what))?,
        ImageFormat::Png => turned = png_exif(bytes).map_err(|what| files::cut(path, what))?,
        _ => ends::check(format, bytes).map_err(|what| files::cut(path, what))?,
    }
    let mut decoder = opened(Cursor::new(bytes), format).map_err(|e| unreadable(path, &e))?;
    // Neither is a reason to refuse a picture.
    let turned = turned.or_else(|| decoder.orientation().ok()).unwrap_or(Orientation::NoTransforms);
    if let Ok(Some(profile)) = decoder.icc_profile() {
        profile::look(&profile, path);
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| unreadable(path, &e))?;
    image.apply_orientation(turned);
    Ok(image)
}

/// Walks through a PNG's chunks: the last one must be there. Returns the orientation that its EXIF data say, which may
/// stand behind the pixels too, where decoders do not look.
fn png_exif(bytes: &[u8]) -> std::result::Result<Option<Orientation>, &'static str> {
    let (mut at, mut turned) = (8, None);
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(chunk) = bytes.get(at + 8..at + 12 + length) else { break };
        match &head[4..] {
            b"IEND" => return Ok(turned),
            b"eXIf" => turned = Orientation::from_exif_chunk(&chunk[..length]),
            _ => {}
        }
        at += 12 + length;
    }
    Err("its end is missing")
}

/// Brings a picture to the size and the channels.
fn fit(image: DynamicImage, [channels, height, width]: [usize; 3], pictures: &Pictures) -> Result<Vec<u8>> {
    if !matches!(channels, 1 | 3) {
        return Err(Error::new(format!(
            "a picture has 1 or 3 channels, but the network's input has {channels}: take .npy"
        )));
    }
    let raster = opaque(image, pictures.background);
    let raster = match pictures.resize {
        Resize::Stretch => raster.resized(width, height),
        Resize::Crop => {
            let whole = scaled([raster.width, raster.height], [width, height]);
            raster.middle(whole, width, height)
        }
    };
    let pixels = raster.bytes.chunks_exact(raster.channels);
    Ok(match (channels, raster.channels) {
        (1, 3) => pixels.map(|p| grey(p, pictures.grey)).collect(),
        (_, 1) => raster.bytes.repeat(channels),
        _ => (0..3).flat_map(|c| pixels.clone().map(move |p| p[c])).collect(),
    })
}

/// Returns the smallest size of a picture's proportions that covers the input's.
fn scaled([w, h]: [usize; 2], [width, height]: [usize; 2]) -> [usize; 2] {
    // Rounded to the nearest: (2·a·b + c) / 2·c.
    let side = |of: usize, by: usize, part: usize| (2 * of * by + part) / (2 * part);
    match width * h >= height * w {
        true => [width, side(h, width, w).max(height)],
        false => [side(w, height, h).max(width), height],
    }
}

/// Returns the grey value of a colour.
pub(crate) fn grey(pixel: &[u8], grey: Grey) -> u8 {
    let sum = |weights: [u32; 3]| pixel.iter().zip(weights).map(|(&p, w)| u32::from(p) * w).sum::<u32>();
    match grey {
        Grey::Rec601 => ((sum([19595, 38470, 7471]) + 0x8000) >> 16) as u8,
        Grey::Rec709 => (sum([2126, 7152, 722]) / 10_000) as u8,
    }
}

/// Lays a picture on the background: three channels, or one where picture and background are grey.
fn opaque(image: DynamicImage, background: [u8; 3]) -> Raster {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let raster = |channels, bytes| Raster { width, height, channels, bytes };
    let plain = background.iter().all(|&b| b == background[0]);
    match (image.color().has_color(), image.color().has_alpha()) {
        (false, false) => raster(1, image.into_luma8().into_raw()),
        (true, false) => raster(3, image.into_rgb8().into_raw()),
        (false, true) if plain => {
            let mut bytes = image.into_luma_alpha8().into_raw();
            lay::<2, 1>(&mut bytes, [background[0]]);
            raster(1, bytes)
        }
        _ => {
            let mut bytes = image.into_rgba8().into_raw();
            lay::<4, 3>(&mut bytes, background);
            raster(3, bytes)
        }
    }
}

/// Composes pixels of `WITH` bytes, alpha last, with a background of `WITHOUT` bytes, in place.
fn lay<const WITH: usize, const WITHOUT: usize>(bytes: &mut Vec<u8>, background: [u8; WITHOUT]) {
    let pixels = bytes.len() / WITH;
    for pixel in 0..pixels {
        let mut from = [0; WITH];
        from.copy_from_slice(&bytes[pixel * WITH..][..WITH]);
        let alpha = u32::from(from[WITHOUT]);
        let to = &mut bytes[pixel * WITHOUT..][..WITHOUT];
        for ((to, &c), &below) in to.iter_mut().zip(&from).zip(&background) {
            *to = ((u32::from(c) * alpha + u32::from(below) * (255 - alpha) + 127) / 255) as u8;
        }
    }
    bytes.truncate(pixels * WITHOUT);
}
