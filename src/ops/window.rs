//! Arithmetic of sliding windows: sizes of results, and which cells a window sees.

use super::schema::LayerError;
pub use crate::recipes::Window;
use std::ops::Range;

/// The largest size, padding or step: products of these stay far from overflow.
pub const MOST: i64 = 1 << 20;

const SIDES: [&str; 2] = ["height", "width"];

fn error(param: &'static str, message: String, help: Option<String>) -> LayerError {
    LayerError { param: Some(param), help, ..LayerError::from(message) }
}

/// Refuses zeros where nothing would move, and what is absurdly large.
fn sane(window: &Window) -> Result<(), LayerError> {
    let parts = [("kernel", window.kernel), ("stride", window.stride), ("dilation", window.dilation)];
    for (name, values) in parts {
        if values.contains(&0) {
            return Err(error(name, format!("{name} {values:?} must be at least 1"), None));
        }
    }
    for (name, values) in [parts[0], parts[1], parts[2], ("pad", window.pad)] {
        if values.iter().any(|&v| v as u64 > MOST as u64) {
            return Err(error(name, format!("{name} {values:?} is larger than {MOST}"), None));
        }
    }
    Ok(())
}

/// Refuses a kernel that does not fit into the padded image.
fn fits(window: &Window, size: [usize; 2]) -> Result<(), LayerError> {
    sane(window)?;
    for i in 0..2 {
        let (kernel, pad, dilation) = (window.kernel[i], window.pad[i], window.dilation[i]);
        let span = dilation * (kernel - 1) + 1;
        if span > size[i] + 2 * pad {
            let spread =
                if dilation > 1 { format!(" with dilation {dilation} spans {span} and") } else { String::new() };
            let side = SIDES[i];
            return Err(error(
                "kernel",
                format!("kernel {kernel}{spread} does not fit into {side} {} + 2·{pad} padding", size[i]),
                Some(format!("the {side} needs pad = {} or a smaller kernel", (span - size[i]).div_ceil(2))),
            ));
        }
    }
    Ok(())
}

/// Result size of a convolution: `(size + 2·pad - dilation·(kernel - 1) - 1)/stride + 1`, rounded down.
pub fn conv_output(window: &Window, size: [usize; 2]) -> Result<[usize; 2], LayerError> {
    fits(window, size)?;
    Ok([0, 1].map(|i| {
        let span = window.dilation[i] * (window.kernel[i] - 1) + 1;
        (size[i] + 2 * window.pad[i] - span) / window.stride[i] + 1
    }))
}

/// Result size of a pooling: `(size + 2·pad - kernel)/stride + 1`, rounded up if `ceil`; a last window that would begin
/// beyond image and left padding is dropped.
pub fn pool_output(window: &Window, ceil: bool, size: [usize; 2]) -> Result<[usize; 2], LayerError> {
    fits(window, size)?;
    for i in 0..2 {
        if window.pad[i] >= window.kernel[i] {
            let (pad, kernel) = (window.pad[i], window.kernel[i]);
            let message = format!("pad {pad} is not smaller than kernel {kernel}: a window would see padding only");
            return Err(error("pad", message, Some("use the operator `pad` to enlarge the image".into())));
        }
    }
    Ok([0, 1].map(|i| {
        let (stride, pad) = (window.stride[i], window.pad[i]);
        let room = size[i] + 2 * pad - window.kernel[i];
        let windows = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
        if (windows - 1) * stride >= size[i] + pad { windows - 1 } else { windows }
    }))
}

/// Tells from the result size of a pooling's gradient operand how it was rounded: up or down; any other size is an
/// error.
pub fn pool_rounding(window: &Window, size: [usize; 2], output: [usize; 2]) -> Result<(), LayerError> {
    let (up, down) = (pool_output(window, true, size)?, pool_output(window, false, size)?);
    if output == up || output == down {
        return Ok(());
    }
    let message = format!("pooling {size:?} gives {down:?} or, rounded up, {up:?}, not {output:?}");
    Err(message.into())
}

/// The windows (of `count`) whose cell `tap` lies on a pixel along `axis`.
pub fn outputs(window: &Window, axis: usize, tap: usize, size: usize, count: usize) -> Range<usize> {
    let (stride, pad, offset) = (window.stride[axis], window.pad[axis], tap * window.dilation[axis]);
    let begin = pad.saturating_sub(offset).div_ceil(stride);
    let end = (size + pad).saturating_sub(offset).div_ceil(stride).min(count);
    begin..end.max(begin)
}

/// The pixels that pooling window `output` sees along `axis`.
pub fn pixels(window: &Window, axis: usize, output: usize, size: usize) -> Range<usize> {
    let start = output * window.stride[axis];
    let end = (start + window.kernel[axis]).saturating_sub(window.pad[axis]).min(size);
    start.saturating_sub(window.pad[axis])..end
}

/// A window without dilation.
pub const fn pooling(kernel: [usize; 2], stride: [usize; 2], pad: [usize; 2]) -> Window {
    Window { kernel, stride, pad, dilation: [1, 1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_rounds_up_as_caffe_does() {
        let window = pooling([3, 3], [2, 2], [0, 0]);
        assert_eq!(pool_output(&window, true, [32, 28]), Ok([16, 14]));
        assert_eq!(pool_output(&window, false, [32, 28]), Ok([15, 13]));
        // (4 + 2 - 2)/2 + 1 = 3 windows; the last begins at 4, inside. With kernel 3, stride 3, pad 1 on 5 pixels,
        // ceil(4/3) + 1 = 3 begin at 0, 3, 6 in padded coordinates, and 6 is beyond the image's end.
        assert_eq!(pool_output(&pooling([3, 3], [3, 3], [1, 1]), true, [5, 6]), Ok([2, 3]));
    }

    #[test]
    fn windows_are_clipped() {
        let window = pooling([3, 3], [2, 2], [1, 1]);
        assert_eq!(pixels(&window, 0, 0, 5), 0..2);
        assert_eq!(pixels(&window, 0, 1, 5), 1..4);
        assert_eq!(pixels(&window, 0, 2, 5), 3..5);
        // Window 0 begins at -1, window 2 ends at 5: the first cell is outside in one, the last in the other.
        assert_eq!([0, 1, 2].map(|tap| outputs(&window, 0, tap, 5, 3)), [1..3, 0..3, 0..2]);
    }

    #[test]
    fn errors_show_the_arithmetic() {
        let error = conv_output(&pooling([5, 5], [1, 1], [0, 0]), [3, 8]).unwrap_err();
        assert_eq!(error.message, "kernel 5 does not fit into height 3 + 2·0 padding");
        assert_eq!(error.help.as_deref(), Some("the height needs pad = 1 or a smaller kernel"));
    }
}
