//! Can 32 items of a device multiply matrices of bf16 and of tf32 numbers together? Asked by a trial: small products by
//! the macros that the kernels use (PTX, which NVIDIA's OpenCL C takes), whose numbers must be exact.

use super::context::{Argument, DeviceContext};
use super::program::{Width, build};
use super::{Entry, Info, Source};
use crate::Result;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The macro that a kernel's text asks for with `#ifdef`.
pub const MACRO: &str = "NINC_TENSOR";

/// `PAIR`: two numbers that are exact in bf16 as one word, the first in its lower half. `MMA_…`: `c += a · b` for 16 x
/// 8 results and 16 (bf16) or 8 (tf32) terms by 32 items together; where each item's numbers belong is in the PTX
/// manual, "Matrix Fragments for mma.m16n8k16" and "m16n8k8".
pub const INSTRUCTION: &str = r#"#define PAIR(x, y) (as_uint(x) >> 16 | (as_uint(y) & 0xffff0000u))
#ifndef MMA
#define MMA(kind, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1) \
    asm volatile("mma.sync.aligned." kind ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
        : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1))
#endif
#define MMA_BF16(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1) \
    MMA("m16n8k16.row.col.f32.bf16.bf16", c0, c1, c2, c3, a0, a1, a2, a3, b0, b1)
#define MMA_TF32(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1) \
    MMA("m16n8k8.row.col.f32.tf32.tf32", c0, c1, c2, c3, a0, a1, a2, a3, b0, b1)
"#;

/// `c[2][16][8]`, by bf16 and by tf32: `a[16][16] · b[16][8]` with `a[r][k] = (3r + 5k) mod 7 - 3` and `b[k][n] = (2k +
/// 3n) mod 5 - 2`.
pub const TRIAL: &str = r#"
#define A(r, k) (float)((3 * (r) + 5 * (k)) % 7 - 3)
#define B(k, n) (float)((2 * (k) + 3 * (n)) % 5 - 2)
#define STORE(by) \
    c[128 * (by) + 8 * g + t] = c0, c[128 * (by) + 8 * g + t + 1] = c1, \
    c[128 * (by) + 8 * (g + 8) + t] = c2, c[128 * (by) + 8 * (g + 8) + t + 1] = c3
__kernel void trial(__global float *c) {
    const int g = (int)get_local_id(0) >> 2, t = ((int)get_local_id(0) & 3) * 2;
    const uint a0 = PAIR(A(g, t), A(g, t + 1)), a1 = PAIR(A(g + 8, t), A(g + 8, t + 1));
    const uint a2 = PAIR(A(g, t + 8), A(g, t + 9)), a3 = PAIR(A(g + 8, t + 8), A(g + 8, t + 9));
    const uint b0 = PAIR(B(t, g), B(t + 1, g)), b1 = PAIR(B(t + 8, g), B(t + 9, g));
    float c0 = 0.0f, c1 = 0.0f, c2 = 0.0f, c3 = 0.0f;
    MMA_BF16(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1);
    STORE(0);
    c0 = c1 = c2 = c3 = 0.0f;
    for (int k = t / 2; k < 16; k += 8) {
        const uint x0 = as_uint(A(g, k)), x1 = as_uint(A(g + 8, k));
        const uint x2 = as_uint(A(g, k + 4)), x3 = as_uint(A(g + 8, k + 4));
        MMA_TF32(c0, c1, c2, c3, x0, x1, x2, x3, as_uint(B(k, g)), as_uint(B(k + 4, g)));
    }
    STORE(1);
}
"#;

/// Whether the device passes the trial; other vendors' are not asked, because no other takes PTX.
pub fn passes(info: &Info) -> bool {
    static KNOWN: Mutex<BTreeMap<usize, bool>> = Mutex::new(BTreeMap::new());
    if !info.vendor.contains("NVIDIA") {
        return false;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry(info.index).or_insert_with(|| trial(info).unwrap_or(false))
}

/// Are the numbers right? An error where the device cannot compile or run it.
pub fn trial(info: &Info) -> Result<bool> {
    let mut context = DeviceContext::open(info.clone())?;
    let entry = Entry { name: "trial".into(), items: Some(32), workspace_bytes: 0 };
    let source = Source { text: [INSTRUCTION, TRIAL].concat(), kernels: vec![entry], optimise: true };
    let built = build(&context, &source, Width::W32)?;
    let memory = context.zeroed(2 * 4 * 16 * 8)?;
    context.launch(&built.kernels[0], &[Argument::Memory(&memory)], 1, 32)?;
    let bytes = context.fetch(&memory, 0, 2 * 4 * 16 * 8)?;
    let got = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_ne_bytes(b));
    Ok(got.eq((0..2 * 16 * 8).map(|i| product(i / 8 % 16, i % 8) as f32)))
}

fn product(row: i32, column: i32) -> i32 {
    let term = |k: i32| ((3 * row + 5 * k) % 7 - 3) * ((2 * k + 3 * column) % 5 - 2);
    (0..16).map(term).sum()
}
