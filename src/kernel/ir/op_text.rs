//! Operations in the text of kernel IR.

use super::{Address, Binary, Compare, Op, Outer, Ty, Unary, Val};

impl Op {
    /// The first of a reduction's two words.
    pub const REDUCE: &str = "reduce";

    /// The words that it starts with in the text.
    pub fn word(&self) -> String {
        let word = match self {
            Op::ConstF32 { .. } | Op::ConstI32 { .. } => "const",
            Op::Iota { .. } => "iota",
            Op::IndexI32 { .. } => "index",
            Op::Splat { .. } => "splat",
            Op::Load { .. } => "load",
            Op::Broadcast { .. } => "broadcast",
            Op::LoadPacked { .. } => "load_packed",
            Op::BroadcastPacked { .. } => "broadcast_packed",
            Op::Unary { op, .. } => op.word(),
            Op::Binary { op, .. } => op.word(),
            Op::Fma { .. } => "fma",
            Op::Compare { op, .. } => op.word(),
            Op::Select { .. } => "select",
            Op::Reduce { op, .. } => return format!("{} {}", Op::REDUCE, op.word()),
            Op::Zip { high: false, .. } => "zip_low",
            Op::Zip { high: true, .. } => "zip_high",
            Op::Dot2Bf16 { .. } => "dot2_bf16",
            Op::Dot2I16 { .. } => "dot2_i16",
            Op::Dot4U8I8 { .. } => "dot4_u8i8",
            Op::LoadTile { stream: false, .. } => "load_tile",
            Op::LoadTile { stream: true, .. } => "stream_tile",
            Op::Outer { kind, .. } => kind.word(),
        };
        word.into()
    }

    /// The operation with these words that reads these values and gives a result of type `ty`.
    pub fn of_values(words: &str, values: &[Val], ty: Ty) -> Option<Op> {
        Some(match (words, values) {
            ("iota", []) => Op::Iota { lanes: ty.lanes },
            ("splat", &[value]) => Op::Splat { value, lanes: ty.lanes },
            ("fma", &[a, b, c]) => Op::Fma { a, b, c },
            ("select", &[mask, then, otherwise]) => Op::Select { mask, then, otherwise },
            ("zip_low", &[left, right]) => Op::Zip { left, right, high: false },
            ("zip_high", &[left, right]) => Op::Zip { left, right, high: true },
            ("dot2_bf16", &[acc, a, b]) => Op::Dot2Bf16 { acc, a, b },
            ("dot2_i16", &[acc, a, b]) => Op::Dot2I16 { acc, a, b },
            ("dot4_u8i8", &[acc, a, b]) => Op::Dot4U8I8 { acc, a, b },
            (_, &[value]) => match words.strip_prefix(Op::REDUCE) {
                Some(op) => Op::Reduce { op: Binary::named(op.trim_start())?, value },
                None => Op::Unary { op: Unary::named(words)?, value },
            },
            (_, &[acc, a, b]) => Op::Outer { kind: Outer::named(words)?, acc, a, b },
            (_, &[left, right]) => match Binary::named(words) {
                Some(op) => Op::Binary { op, left, right },
                None => Op::Compare { op: Compare::named(words)?, left, right },
            },
            _ => return None,
        })
    }

    /// The operation with this word that reads `count` (or all) elements of memory and gives a result of type `ty`.
    pub fn of_memory(word: &str, from: Address, ty: Ty, count: Option<u32>) -> Option<Op> {
        Some(match (word, count) {
            ("load", count) => Op::Load { from, ty, count },
            ("broadcast", None) => Op::Broadcast { from, ty },
            ("load_packed", None) => Op::LoadPacked { from, lanes: ty.lanes },
            ("broadcast_packed", None) => Op::BroadcastPacked { from, lanes: ty.lanes },
            _ => return None,
        })
    }

    /// The operation with this word that reads a tile whose rows are `pitch` elements apart.
    pub fn of_tile(word: &str, from: Address, ty: Ty, pitch: u32) -> Option<Op> {
        let stream = match word {
            "load_tile" => false,
            "stream_tile" => true,
            _ => return None,
        };
        Some(Op::LoadTile { from, elem: ty.elem, pitch, stream })
    }
}
