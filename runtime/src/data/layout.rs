//! The layout of arrays of images: which shapes fit a network's input, and what the others look like.

use crate::{Error, Result};

/// The images in an array of the shape `found`, for images of `[channels, height, width]`: with or without the number
/// of images in front, without the channel where there is one, or flat. `what` is the array.
pub fn count(what: &str, found: &[usize], image: [usize; 3]) -> Result<usize> {
    let size = image.iter().product();
    let mut shapes = vec![&image[..]];
    if image[0] == 1 {
        shapes.push(&image[1..]);
    }
    let flat = [size];
    shapes.push(&flat);
    let fits = |shape: &&[usize]| match found.split_first() {
        _ if found == *shape => Some(1),
        Some((&count, rest)) if rest == *shape => Some(count),
        _ => None,
    };
    shapes.iter().find_map(fits).ok_or_else(|| {
        let error = Error::new(format!("{what} has the shape {found:?}, but the input is [N] + {image:?}"));
        error.with_help(help(found, image))
    })
}

/// What an array of another shape looks like, and how to mend it with NumPy.
pub fn help(found: &[usize], [c, h, w]: [usize; 3]) -> String {
    let (many, inside) = match found.len() {
        5.. => return "an array of images has four dimensions at most: [N, C, H, W]".into(),
        4 => (true, &found[1..]),
        _ => (false, found),
    };
    let turn = |several: &str, one: &str| format!("`x.transpose({})`", if many { several } else { one });
    match *inside {
        [a, b, d] if [a, b, d] == [h, w, c] => {
            format!("it looks like [N, H, W, C]: give {}", turn("0, 3, 1, 2", "2, 0, 1"))
        }
        [a, b, d] if [a, b, d] == [c, w, h] => {
            format!("its height and width look exchanged: give {}", turn("0, 1, 3, 2", "0, 2, 1"))
        }
        [a, b, d] if [a, b, d] == [w, h, c] => {
            format!("it looks like [N, W, H, C]: give {}", turn("0, 3, 2, 1", "2, 1, 0"))
        }
        [4, b, d] if [c, b, d] == [3, h, w] => "it looks as if it had an alpha channel: give `x[..., :3, :, :]`".into(),
        [1, b, d] if [c, b, d] == [3, h, w] => "it looks grey: give `x.repeat(3, axis=-3)`".into(),
        [3, b, d] if [c, b, d] == [1, h, w] => {
            "it looks like colours: give `(x * [[[0.299]], [[0.587]], [[0.114]]]).sum(-3)`".into()
        }
        [_, b, d] if c == 3 && [b, d] == [h, w] => "it looks grey: give `x[:, None].repeat(3, axis=1)`".into(),
        _ => "channels, height, width: change `input` in the model, or take data of its size".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_of_another_layout_is_told_how_to_mend_it() {
        let colour = [3, 16, 8];
        for (found, image, says) in [
            (&[5, 16, 8, 3][..], colour, "`x.transpose(0, 3, 1, 2)`"),
            (&[16, 8, 3], colour, "`x.transpose(2, 0, 1)`"),
            (&[5, 3, 8, 16], colour, "`x.transpose(0, 1, 3, 2)`"),
            (&[5, 16, 8], colour, "`x[:, None].repeat(3, axis=1)`"),
            (&[1, 5, 1, 16, 8], [1, 16, 8], "four dimensions at most"),
            (&[2, 5, 3, 8, 16], colour, "four dimensions at most"),
            (&[5, 3, 4, 4], colour, "change `input` in the model"),
        ] {
            let error = count("x", found, image).expect_err("another layout");
            assert!(error.help.as_ref().is_some_and(|help| help.contains(says)), "{found:?}: {error:?}");
        }
    }
}
