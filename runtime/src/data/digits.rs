//! The 1,797 UCI handwritten digits (E. Alpaydin, C. Kaynak; CC BY 4.0), in the binary itself: training works with no
//! file at all. `runtime/data/digits.LICENSE` has the source and the format.

use super::reading::Reading;
use super::split::{self, Order};
use super::{Dataset, Images, Pixels, Sets};
use crate::{Error, Result};
use std::io::Read;

const PACKED: &[u8] = include_bytes!("../../data/digits.bin.z");
const COUNT: usize = 1797;

/// Reads the digits. Values 0 to 16 become bytes 0 to 255, so that `scale` works as for any picture. A fifth is kept
/// for testing.
pub fn load() -> Result<Sets> {
    let mut raw = Vec::with_capacity(COUNT * 65);
    flate2::read::ZlibDecoder::new(PACKED)
        .read_to_end(&mut raw)
        .map_err(|e| Error::new(format!("the embedded digits are damaged: {e}")))?;
    if raw.len() != COUNT * 65 {
        return Err(Error::new(format!("the embedded digits are damaged: {} bytes", raw.len())));
    }
    let labels = raw.split_off(COUNT * 64).into_iter().map(u32::from).collect();
    for value in &mut raw {
        *value = (f32::from(*value) * 255.0 / 16.0).round() as u8;
    }
    let all = Dataset::new(Images { dims: [1, 8, 8], pixels: Pixels::Bytes(raw) }, labels);
    // As it always was, whatever the classes: published figures are of this split.
    let (train, test) = split::test_fifth(&all, Order::Former);
    let reading = Reading::cut(Order::Former);
    Ok(Sets { train, valid: None, test, names: vec![], reading })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digits_are_all_there() {
        let sets = super::load().expect("embedded");
        assert_eq!((sets.train.len(), sets.test.len()), (1437, 360));
        assert!(sets.train.labels.iter().all(|&l| l < 10));
        let mut image = [0.0; 64];
        // The first image of the file is a zero whose first row reads 0 0 5 13 9 1 0 0 of 16.
        sets.all().expect("one piece").copy(0, &mut image).expect("in memory");
        assert_eq!(image[..8], [0.0, 0.0, 80.0, 207.0, 143.0, 16.0, 0.0, 0.0]);
        assert_eq!(sets.train.labels[0], 0);
    }
}
