//! Colour profiles. Pixels are used as they are, so a profile that is not sRGB's is worth a note.

use std::path::Path;
use std::sync::OnceLock;

/// The first file that had another profile, and its name.
static FOREIGN: OnceLock<String> = OnceLock::new();

/// sRGB's primaries under D50, as profiles hold them.
const SRGB: [(&[u8; 4], [f64; 3]); 3] =
    [(b"rXYZ", [0.4361, 0.2225, 0.0139]), (b"gXYZ", [0.3851, 0.7169, 0.0971]), (b"bXYZ", [0.1431, 0.0606, 0.7141])];

/// Remembers a picture's profile if it is another than sRGB's.
pub fn look(profile: &[u8], path: &Path) {
    if !is_srgb(profile) {
        FOREIGN.get_or_init(|| {
            let name = name(profile).map_or(String::new(), |name| format!(" `{name}`"));
            format!("{} has the colour profile{name}; its numbers are taken as sRGB's", path.display())
        });
    }
}

/// Returns what to tell about profiles: at most one sentence, however many pictures had one.
pub fn note() -> Option<&'static str> {
    FOREIGN.get().map(String::as_str)
}

/// Returns the data of a tag.
fn tag<'a>(profile: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    let number = |at: usize| profile.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let entry = (0..number(128)?.min(100)).map(|i| 132 + 12 * i).find(|&at| profile.get(at..at + 4) == Some(name))?;
    let (at, size) = (number(entry + 4)?, number(entry + 8)?);
    profile.get(at..at.checked_add(size)?)
}

/// Are the primaries those of sRGB, or is it a grey profile with sRGB's curve or the usual one near it?
fn is_srgb(profile: &[u8]) -> bool {
    let close = |&(name, expected): &(&[u8; 4], [f64; 3])| {
        let Some(values) = tag(profile, name).and_then(|t| t.get(8..20)) else { return false };
        let (values, _) = values.as_chunks::<4>();
        let number = |b: &[u8; 4]| f64::from(i32::from_be_bytes(*b)) / 65536.0;
        values.iter().zip(expected).all(|(b, e)| (number(b) - e).abs() < 0.003)
    };
    match profile.get(16..20) {
        Some(b"RGB ") => SRGB.iter().all(close),
        Some(b"GRAY") => name(profile).is_some_and(|n| ["sRGB", "2.2", "sGry"].iter().any(|word| n.contains(word))),
        _ => false,
    }
}

/// Returns a profile's description, in ASCII (version 2) or UTF-16 (version 4).
fn name(profile: &[u8]) -> Option<String> {
    let text = tag(profile, b"desc")?;
    let number = |at: usize| text.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let name = match text.get(..4)? {
        b"desc" => String::from_utf8_lossy(text.get(12..)?.get(..number(8)?)?).into_owned(),
        b"mluc" => {
            let (size, at) = (number(20)?, number(24)?);
            let (units, _) = text.get(at..at.checked_add(size)?)?.as_chunks::<2>();
            String::from_utf16_lossy(&units.iter().map(|&u| u16::from_be_bytes(u)).collect::<Vec<_>>())
        }
        _ => return None,
    };
    let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    (!name.is_empty()).then_some(name)
}
