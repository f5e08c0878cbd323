//! Windows of convolutions and pools: attributes, padding by words, sizes.

use super::super::read::Node;
use super::Mapped;
use super::view::View;

/// A window over rows and columns; a row of a signal counts as an image of one row.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Padding before and behind.
    pub begin: [usize; 2],
    pub end: [usize; 2],
    /// Rows and columns that come out.
    pub size: [usize; 2],
}

impl Window {
    /// Reads a node's window for images of this size. `kernel` is that of the weights, or the node's.
    pub fn of(node: &Node, kernel: &[i64], image: &[usize], ceil: bool) -> Mapped<Window> {
        let n = image.len();
        if n != 1 && n != 2 {
            return Err(format!("it works on {n} dimensions, where the language has height and width").into());
        }
        let list = |name: &str, count: usize, default: usize| -> Mapped<Vec<usize>> {
            let Some(given) = node.ints(name).filter(|given| !given.is_empty()) else {
                return Ok(vec![default; count]);
            };
            let sizes = counts(given).filter(|sizes| sizes.len() == count);
            Ok(sizes.ok_or_else(|| format!("its {name} are {given:?}"))?)
        };
        let kernel = counts(kernel).filter(|k| k.len() == n && !k.contains(&0));
        let kernel = kernel.ok_or("its kernel does not fit its images")?;
        let (strides, dilations) = (list("strides", n, 1)?, list("dilations", n, 1)?);
        let pads = list("pads", 2 * n, 0)?;
        if strides.contains(&0) || dilations.contains(&0) {
            return Err("its strides or dilations are 0".into());
        }
        let auto = node.text("auto_pad").unwrap_or_default();
        let mut window =
            Window { kernel: [1; 2], stride: [1; 2], dilation: [1; 2], begin: [0; 2], end: [0; 2], size: [1; 2] };
        for i in 0..n {
            let at = 2 - n + i;
            let span = dilations[i] * (kernel[i] - 1) + 1;
            let (begin, end) = match auto.as_str() {
                "SAME_UPPER" | "SAME_LOWER" => {
                    let wanted = image[i].div_ceil(strides[i]);
                    let all = ((wanted - 1) * strides[i] + span).saturating_sub(image[i]);
                    if auto == "SAME_UPPER" { (all / 2, all - all / 2) } else { (all - all / 2, all / 2) }
                }
                "VALID" => (0, 0),
                "NOTSET" | "" => (pads[i], pads[n + i]),
                other => return Err(format!("its auto_pad is `{other}`").into()),
            };
            let room = (image[i] + begin + end).checked_sub(span);
            let room = room.ok_or("its window is larger than the image")?;
            let mut size = if ceil { room.div_ceil(strides[i]) } else { room / strides[i] } + 1;
            // A last window that would begin in the padding behind the image is dropped.
            if ceil && (size - 1) * strides[i] >= image[i] + begin {
                size -= 1;
            }
            (window.kernel[at], window.stride[at], window.dilation[at]) = (kernel[i], strides[i], dilations[i]);
            (window.begin[at], window.end[at], window.size[at]) = (begin, end, size);
        }
        Ok(window)
    }

    /// Returns the sizes of the result for images of a view with other channels, a signal's where it is one.
    pub fn shape(&self, x: &View, channels: usize) -> Vec<usize> {
        [&[x.batch(), channels], &self.size[3 - x.image().len()..]].concat()
    }

    /// Rows or columns that a window covers.
    pub fn span(&self, i: usize) -> usize {
        self.dilation[i] * (self.kernel[i] - 1) + 1
    }

    /// The size of the result where both sides are padded as the first.
    pub fn size_of(&self, i: usize, image: usize, ceil: bool) -> Option<usize> {
        let room = (image + 2 * self.begin[i]).checked_sub(self.span(i))?;
        let size = if ceil { room.div_ceil(self.stride[i]) } else { room / self.stride[i] } + 1;
        Some(if ceil && (size - 1) * self.stride[i] >= image + self.begin[i] { size - 1 } else { size })
    }
}

/// Returns what is given as numbers of pixels.
fn counts(given: &[i64]) -> Option<Vec<usize>> {
    given.iter().map(|&v| usize::try_from(v).ok().filter(|v| *v < 1 << 20)).collect()
}
