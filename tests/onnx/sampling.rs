//! Resize and Upsample, whose results are cells of the image or lie between two, windows with holes, and windows with
//! more padding on one side: which cells, by the operators' formulas.

use super::faults::{constant, field, import, model, node, number, text_attribute, twice};
use crate::cli::Place;
use ninc_runtime::{Tensor, npy};
use std::fs;

/// A constant of floats.
fn floats(name: &str, numbers: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
    field(5, &[number(1, numbers.len() as i64), number(2, 1), field(4, &data), field(8, name.as_bytes())].concat())
}

/// An attribute with a list of floats.
fn list(name: &str, numbers: &[f32]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|v| v.to_le_bytes()).collect();
    field(5, &[field(1, name.as_bytes()), field(7, &data), vec![0xa0, 0x01, 6]].concat())
}

/// Runs a graph on two images `[4, 7, 9]` whose numbers are 100 times the channel and the column; gives a row of each
/// channel, less that number.
fn columns(opset: i64, parts: &[Vec<u8>]) -> [Vec<f32>; 4] {
    let made = run(opset, parts, |i| i / 63 % 4 * 100 + i % 9);
    let [2, 4, 7, width] = made.dims[..] else { panic!("{:?}", made.dims) };
    [0, 1, 2, 3].map(|c| made.data[c * 7 * width..][..width].iter().map(|v| v - 100.0 * c as f32).collect())
}

/// Runs a graph on two images of numbers that are all different.
fn pixels(opset: i64, parts: &[Vec<u8>]) -> Tensor {
    run(opset, parts, |i| i + 1)
}

fn run(opset: i64, parts: &[Vec<u8>], pixel: impl Fn(usize) -> usize) -> Tensor {
    let place = Place::new();
    let images = (0..2 * 4 * 7 * 9).map(|i| pixel(i) as f32).collect();
    let images = Tensor::new(&[2, 4, 7, 9], images).expect("fits");
    fs::write(place.path("x.npy"), npy::to_bytes(&images)).expect("written");
    fs::write(place.path("net.onnx"), model(None, Some(opset), parts)).expect("written");
    place.good(&["run", "net.onnx", "x.npy", "--raw", "--output", "y.npy"]);
    npy::read(&place.path("y.npy")).expect("an array")
}

/// Every channel has this row.
fn each(row: impl Iterator<Item = i32>) -> [Vec<f32>; 4] {
    let row: Vec<f32> = row.map(|at| at.clamp(0, 8) as f32).collect();
    [0; 4].map(|_| row.clone())
}

/// Before set 10, Upsample: its scales are an attribute, later an operand.
#[test]
fn upsample_takes_the_cell_before() {
    for mode in ["nearest", "linear"] {
        let scales = [1.0, 1.0, 1.0, 2.0];
        let mode_is = text_attribute("mode", mode);
        let older = columns(7, &[node("Upsample x -> y", &[mode_is.clone(), list("scales", &scales)])]);
        let newer = columns(9, &[node("Upsample x scales -> y", &[mode_is]), floats("scales", &scales)]);
        assert_eq!(older, newer);
        match mode {
            "nearest" => assert_eq!(newer, each((0..18).map(|i| i / 2))),
            _ => assert_eq!(newer[3], (0..18).map(|i| (i as f32 / 2.0).min(8.0)).collect::<Vec<_>>()),
        }
    }
}

/// Nine columns become 18, 20 or four, by places that are told exactly: where two cells are equally near, the first.
#[test]
fn coordinates_are_exact_where_cells_are_equally_near() {
    let resize = |opset: i64, scale: f32, coordinates: &str, nearest: &str| {
        let attributes = [("coordinate_transformation_mode", coordinates), ("nearest_mode", nearest)]
            .map(|(n, v)| text_attribute(n, v));
        columns(opset, &[node("Resize x _ scales -> y", &attributes), floats("scales", &[1.0, 1.0, 1.0, scale])])
    };
    // (i + 1/2)/2.3 - 1/2 is (20·i - 13)/46; the nearest is (20·i - 36)/46, rounded up.
    let right = each((0..20).map(|i| (20 * i - 36 + 45_i32).div_euclid(46)));
    assert_eq!(resize(13, 2.3, "half_pixel", "round_prefer_floor"), right);
    // (i + 1/2)/2, rounded up; the channels' axis stays, though 1/2 of a cell is added there, too.
    assert_eq!(resize(11, 2.0, "tf_half_pixel_for_nn", "ceil"), each((0..18).map(|i| (2 * i + 1 + 3) / 4)));
    // Of nine columns the middle eight: 2·i + 1.
    assert_eq!(resize(19, 0.5, "half_pixel_symmetric", "ceil"), each((0..4).map(|i| 2 * i + 1)));
    assert_eq!(resize(19, 0.5, "half_pixel_symmetric", "floor"), each((0..4).map(|i| 2 * i + 1)));
}

/// An attribute with a list of whole numbers.
fn axes(name: &str, numbers: &[i64]) -> Vec<u8> {
    let data: Vec<u8> = numbers.iter().flat_map(|&v| number(8, v)).collect();
    field(5, &[field(1, name.as_bytes()), data, vec![0xa0, 0x01, 7]].concat())
}

/// Images whose channels are last for a while are padded, cut and enlarged where they lie, not brought in order first.
#[test]
fn channels_that_are_last_stay_where_they_are() {
    let around = |middle: &[Vec<u8>]| {
        let forth = node("Transpose x -> a", &[axes("perm", &[0, 2, 3, 1])]);
        let back = node("Transpose b -> y", &[axes("perm", &[0, 3, 1, 2])]);
        [&[forth], middle, &[back]].concat()
    };
    let cases = [
        (
            vec![node("Pad a sides -> b", &[]), constant("sides", &[0, 2, 1, 0, 0, 0, 3, 0])],
            vec![node("Pad x sides -> y", &[]), constant("sides", &[0, 0, 2, 1, 0, 0, 0, 3])],
            0,
        ),
        (
            vec![
                node("Slice a from to axes -> b", &[]),
                constant("from", &[2, 1]),
                constant("to", &[7, 4]),
                constant("axes", &[2, 3]),
            ],
            vec![
                node("Slice x from to axes -> y", &[]),
                constant("from", &[2, 1]),
                constant("to", &[7, 4]),
                constant("axes", &[3, 1]),
            ],
            // Of each factor between two axes of four channels, nine columns: five of them, then three channels.
            7 * 4 * 9 * 5 + 3 * 4,
        ),
    ];
    for (last, first, most) in cases {
        let (last, made) = (around(&last), import(None, Some(13), &around(&last)).expect("imported"));
        let weights: usize = made.written.tensors.values().map(|tensor| tensor.data.len()).sum();
        assert!(weights <= most, "{weights}: {}", made.written.text);
        assert_eq!(pixels(13, &last), pixels(13, &first));
    }
}

/// An input with its channels last that is padded before they are brought forward comes in with channels first, too.
#[test]
fn padded_inputs_have_their_channels_first() {
    let parts = [
        node("Pad x sides -> a", &[]),
        node("Transpose a -> b", &[axes("perm", &[0, 3, 1, 2])]),
        node("Relu b -> y", &[]),
        constant("sides", &[0, 1, 1, 0, 0, 1, 1, 0]),
    ];
    let made = import(None, Some(13), &parts).expect("imported").written;
    assert!(made.text.contains("input x: [9, 4, 7]") && made.tensors.is_empty(), "{}", made.text);
}

/// Of nine columns nine are taken, in order, but the third twice and the fourth never.
#[test]
fn columns_may_be_taken_twice() {
    let which = constant("which", &[0, 1, 2, 2, 4, 5, 6, 7, 8]);
    let gather =
        node("Gather x which -> y", &[field(5, &[field(1, b"axis"), number(3, 3), vec![0xa0, 0x01, 2]].concat())]);
    assert_eq!(columns(13, &[gather, which]), each([0, 1, 2, 2, 4, 5, 6, 7, 8].into_iter()));
}

/// onnx.reference 1.22 has too few results here or pads as with SAME_UPPER, MNN 3.6 pads so as well.
#[test]
fn odd_padding_may_be_in_front() {
    for (side, front) in [("SAME_LOWER", 2), ("SAME_UPPER", 1)] {
        let attributes = [twice("kernel_shape", 4), twice("strides", 2), text_attribute("auto_pad", side)];
        let made = pixels(13, &[node("MaxPool x -> y", &attributes)]);
        assert_eq!(made.dims, [2, 4, 4, 5], "{side}");
        for (at, &most) in made.data.iter().enumerate() {
            let (image, row, column) = (at / 20, at / 5 % 4, at % 5);
            // Pixels grow to the right and down: a window's last one is its largest.
            let last = |at: usize, side: usize| (2 * at + 3 - front).min(side - 1);
            let expected = 63 * image + 9 * last(row, 7) + last(column, 9) + 1;
            assert_eq!(most, expected as f32, "{side}, {at}");
        }
    }
}

/// ONNX Runtime 1.32 gives a smaller image here, as if the window had no holes, and onnx.reference 1.22 other means.
#[test]
fn a_window_with_holes_keeps_the_size() {
    let attributes = [twice("kernel_shape", 3), twice("dilations", 2), text_attribute("auto_pad", "SAME_UPPER")];
    let made = pixels(19, &[node("AveragePool x -> y", &attributes)]);
    assert_eq!(made.dims, [2, 4, 7, 9]);
    let near = |at: usize, side: usize| {
        (0..3).map(move |i| at + 2 * i).filter(move |i| (2..side + 2).contains(i)).map(|i| i - 2)
    };
    for (at, &mean) in made.data.iter().enumerate() {
        let (image, row, column) = (at / 63, at / 9 % 7, at % 9);
        let cells: Vec<usize> =
            near(row, 7).flat_map(|y| near(column, 9).map(move |x| 63 * image + 9 * y + x + 1)).collect();
        let expected = cells.iter().sum::<usize>() as f32 / cells.len() as f32;
        assert!((mean - expected).abs() <= 1e-6 * expected, "{at}: {mean} for {expected}");
    }
}
