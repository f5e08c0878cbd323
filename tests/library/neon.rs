//! What the innermost loops of products are made of on ARM, counted in the instructions of a built library.

use super::Place;
use object::read::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Is it FMLA on four floats, by a vector or by one of its lanes?
fn multiply_adds(word: u32) -> bool {
    word & 0xffe0_fc00 == 0x4e20_cc00 || word & 0xffc0_f400 == 0x4f80_1000
}

/// Where a conditional branch goes, in words from itself: B.cond, CBZ and CBNZ.
fn branch(word: u32) -> Option<i32> {
    let conditional = word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000;
    conditional.then_some((word << 8) as i32 >> 13)
}

/// The part of multiply-adds in the loop that has most of them, of those without a loop inside.
fn share(code: &[u8]) -> Option<f64> {
    let words: Vec<u32> = code.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().expect("four"))).collect();
    let mut best = (0, 0.0);
    let mut start = 0;
    for (at, &word) in words.iter().enumerate() {
        let Some(to) = branch(word).filter(|to| *to < 0) else { continue };
        let first = (at as i32 + to) as usize;
        // Loops end in order; one that begins before the end of another has that inside.
        if first < start {
            continue;
        }
        start = at + 1;
        let count = words[first..=at].iter().filter(|&&word| multiply_adds(word)).count();
        if count > best.0 {
            best = (count, count as f64 / (at + 1 - first) as f64);
        }
    }
    (best.0 > 0).then_some(best.1)
}

/// The largest tile of each product of a network: rows, columns, and the part of multiply-adds in its innermost loop.
fn shares(name: &str) -> BTreeMap<String, (usize, usize, f64)> {
    let place = Place::new();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.nin"));
    let model = model.to_str().expect("a plain path");
    place.good("ninc", &["build", model, "--target", "aarch64-linux-android", "-o", "lib"]);
    let bytes = fs::read(place.path(&format!("lib/{name}.o"))).expect("written");
    let file = object::File::parse(&*bytes).expect("an object");
    let mut found: BTreeMap<String, (usize, usize, f64)> = BTreeMap::new();
    for symbol in file.symbols() {
        // NAME.0.micro_kernelN_contract_ROWSxCOLUMNSv4_WHAT
        let Some((_, what)) = symbol.name().expect("a name").split_once("_contract_") else { continue };
        let (tile, what) = what.split_once("v4_").expect("vectors of four");
        let (rows, columns) = tile.split_once('x').expect("rows and columns");
        let (rows, columns) = (rows.parse().expect("a number"), columns.parse().expect("a number"));
        let section = file.section_by_index(symbol.section_index().expect("defined")).expect("there");
        let (at, size) = ((symbol.address() - section.address()) as usize, symbol.size() as usize);
        let code = &section.data().expect("code")[at..at + size];
        let Some(part) = share(code) else { continue };
        let known = found.entry(what.into()).or_default();
        if rows * columns > known.0 * known.1 {
            *known = (rows, columns, part);
        }
    }
    found
}

#[test]
fn inner_loops_of_products_are_mostly_multiply_adds_on_arm() {
    let found = shares("cifar10");
    assert!(found.len() >= 6, "{found:?}");
    for (what, (rows, columns, part)) in &found {
        eprintln!("{rows}x{columns} {what}: {:.1} %", 100.0 * part);
        // A narrow result has few columns to multiply each row with.
        if *columns >= 8 {
            assert!(*part >= 0.75, "{rows}x{columns} {what}: {part}");
        }
    }
}
