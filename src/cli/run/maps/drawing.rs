//! A picture beside its maps, each drawn over it in colours whose brightness grows with the number, so that they can be
//! read without telling red from green, or in print.

use super::Maps;
use crate::cli::sheet::{HEIGHT, Sheet, WIDTH, shortened};

/// Pixels of the longer side of a panel, at least; small pictures are enlarged by a whole number.
const SIDE: usize = 160;
/// Pixels between panels, and around all of them.
const GAP: usize = 8;
/// Panels in a row.
const ROW: usize = 6;
/// Width of the bar that tells what the colours mean.
const BAR: usize = 12;
/// Letters beside it.
const LETTERS: usize = 9;
/// How much of a map's panel is colour; the rest is the picture's brightness.
const SHARE: f32 = 0.7;

/// The colours of Cividis (Nuñez, Anderton & Renslow, 2018) at equal steps from the lowest to the highest number.
const COLOURS: [[u8; 3]; 10] = [
    [0x00, 0x22, 0x4e],
    [0x12, 0x35, 0x70],
    [0x3b, 0x49, 0x6c],
    [0x57, 0x5d, 0x6d],
    [0x70, 0x71, 0x73],
    [0x8a, 0x86, 0x78],
    [0xa5, 0x9c, 0x74],
    [0xc3, 0xb3, 0x69],
    [0xe1, 0xcc, 0x55],
    [0xfe, 0xe8, 0x38],
];

/// Returns the colour of a number from 0 to 1.
fn colour(part: f32) -> [f32; 3] {
    let at = part.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f32;
    let low = (at as usize).min(COLOURS.len() - 2);
    let share = at - low as f32;
    [0, 1, 2].map(|c| f32::from(COLOURS[low][c]) * (1.0 - share) + f32::from(COLOURS[low + 1][c]) * share)
}

/// What lies between the lowest and the highest number of all maps; 0 is among them, so that a flat map looks flat.
fn range(maps: &Maps) -> [f32; 2] {
    let all = maps.maps.iter().flat_map(|(_, map)| map.iter().copied());
    let [low, high] = all.fold([0.0f32, 0.0], |[low, high], v| [low.min(v), high.max(v)]);
    [low, if high > low { high } else { low + 1.0 }]
}

/// Draws the picture `[channels, height, width]`, its maps, and a bar for the colours.
pub fn sheet(image: &[u8], [channels, height, width]: [usize; 3], maps: &Maps) -> Sheet {
    let scale = SIDE.div_ceil(width.max(height)).max(1);
    let panel = [width * scale, height * scale];
    // A narrow picture's words are wider than it.
    let cell = [panel[0].max(SIDE) + GAP, panel[1] + GAP + HEIGHT];
    let columns = (maps.maps.len() + 1).min(ROW);
    let rows = (maps.maps.len() + 1).div_ceil(columns);
    let bar = [columns * cell[0] + GAP, GAP];
    let mut sheet = Sheet::new(bar[0] + BAR + GAP + LETTERS * WIDTH, rows * cell[1] + GAP);
    let [low, high] = range(maps);
    let plane = |c: usize, at: usize| image[(if channels == 3 { c } else { 0 }) * height * width + at];
    let labels = ["picture"].into_iter().chain(maps.maps.iter().map(|(label, _)| label.as_str()));
    for (i, label) in labels.enumerate() {
        let (left, top) = (GAP + i % columns * cell[0], GAP + i / columns * cell[1]);
        for y in 0..panel[1] {
            for x in 0..panel[0] {
                let at = y / scale * width + x / scale;
                let own = [0, 1, 2].map(|c| plane(c, at));
                let shown = match i.checked_sub(1) {
                    None => own,
                    Some(map) => {
                        let value = between(&maps.maps[map].1, maps.size, [y, x], [panel[1], panel[0]]);
                        over(own, colour((value - low) / (high - low)))
                    }
                };
                sheet.set(left + x, top + y, shown);
            }
        }
        sheet.write(&shortened(label, (cell[0] - GAP) / WIDTH), left, top + panel[1] + 1);
    }
    let tall = panel[1];
    for y in 0..tall {
        let rgb = colour(1.0 - y as f32 / (tall.max(2) - 1) as f32).map(|v| v.round() as u8);
        (0..BAR).for_each(|x| sheet.set(bar[0] + x, bar[1] + y, rgb));
    }
    let beside = bar[0] + BAR + GAP / 2;
    sheet.write(&short(high), beside, bar[1]);
    sheet.write(&short(low), beside, (bar[1] + tall).saturating_sub(HEIGHT));
    sheet
}

/// A number in few letters.
fn short(value: f32) -> String {
    let plain = format!("{value:.3}");
    if value == 0.0 || ((0.01..1e4).contains(&value.abs()) && plain.len() <= LETTERS) {
        plain
    } else {
        format!("{value:.1e}")
    }
}

/// A colour over a pixel's brightness (Rec. 601).
fn over(own: [u8; 3], colour: [f32; 3]) -> [u8; 3] {
    let [r, g, b] = own.map(f32::from);
    let grey = 0.299 * r + 0.587 * g + 0.114 * b;
    colour.map(|v| (SHARE * v + (1.0 - SHARE) * grey).round() as u8)
}

/// A map's number at a pixel of a panel, linearly between the middles of its cells.
fn between(map: &[f32], [rows, columns]: [usize; 2], [y, x]: [usize; 2], [height, width]: [usize; 2]) -> f32 {
    let place = |at: usize, side: usize, cells: usize| {
        let middle = ((at as f32 + 0.5) / side as f32 * cells as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let low = (middle as usize).min(cells.saturating_sub(2));
        (low, (low + 1).min(cells - 1), middle - low as f32)
    };
    let (top, bottom, down) = place(y, height, rows);
    let (left, right, along) = place(x, width, columns);
    let row = |y: usize| map[y * columns + left] * (1.0 - along) + map[y * columns + right] * along;
    row(top) * (1.0 - down) + row(bottom) * down
}
