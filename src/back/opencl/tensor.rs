//! Products that 32 items compute together, by the matrix units of NVIDIA's devices: PTX inside OpenCL C. The runtime
//! asks for it (`NINC_TENSOR`) where a trial on the device gave the right numbers; elsewhere the micro-kernel's own
//! body says the same.

use super::line;
use crate::kernel::ir::WarpProduct;
use crate::types::Format;
use ninc_runtime::opencl::tensor::INSTRUCTION;
pub(super) use ninc_runtime::opencl::tensor::MACRO;

/// Writes what stands in front of all functions where some of them have such a body.
pub(super) fn head() -> String {
    format!("#ifdef {MACRO}\n{INSTRUCTION}#endif\n\n")
}

/// What an item holds of a factor for one instruction: two words.
struct Fragment {
    instruction: &'static str,
    /// Neighbouring terms of a word.
    terms: u32,
}

impl Fragment {
    fn of(format: Format) -> Fragment {
        match format {
            Format::Bf16 => Fragment { instruction: "MMA_BF16", terms: 2 },
            Format::Tf32 => Fragment { instruction: "MMA_TF32", terms: 1 },
        }
    }

    /// Writes word 0 or 1, given where a term lies, counted from the item's first one.
    fn word(&self, half: u32, at: impl Fn(u32) -> String) -> String {
        let first = 4 * self.terms * half;
        match self.terms {
            1 => format!("as_uint({})", at(first)),
            _ => format!("PAIR({}, {})", at(first), at(first + 1)),
        }
    }
}

/// Writes the body of the micro-kernel with these pointers.
pub(super) fn body(product: &WarpProduct, [a, b, c]: [&str; 3], text: &mut String) {
    let &WarpProduct { format, rows, columns, depth, pitches: [pitch_a, pitch_b] } = product;
    let fragment = Fragment::of(format);
    let cells = || (0..2 * rows).flat_map(|r| (0..columns).map(move |v| (r, v)));
    line(text, 1, "const idx g = (get_local_id(0) >> 2) & 7, t = get_local_id(0) & 3;");
    for (r, v) in cells() {
        let at = 2 * (r * columns + v);
        line(text, 1, format_args!("float c{r}_{v}_0 = {c}[{at}], c{r}_{v}_1 = {c}[{}];", at + 1));
    }
    line(text, 1, format_args!("for (idx k = {} * t; k < {depth}; k += {}) {{", fragment.terms, 8 * fragment.terms));
    for r in 0..2 * rows {
        for half in 0..2 {
            let word = fragment.word(half, |term| format!("{a}[(k + {term}) * {pitch_a} + {}]", 8 * r));
            line(text, 2, format_args!("const uint a{r}_{half} = {word};"));
        }
    }
    for v in 0..columns {
        for half in 0..2 {
            // The pointer is that of column 2t; as a factor an item holds column g.
            let word = fragment.word(half, |term| format!("{b}[(k + {term}) * {pitch_b} + {} + g - 2 * t]", 8 * v));
            line(text, 2, format_args!("const uint b{v}_{half} = {word};"));
        }
    }
    for (r, v) in cells().filter(|(r, _)| r % 2 == 0) {
        let next = r + 1;
        line(
            text,
            2,
            format_args!(
                "{}(c{r}_{v}_0, c{r}_{v}_1, c{next}_{v}_0, c{next}_{v}_1, a{r}_0, a{next}_0, a{r}_1, a{next}_1, \
                 b{v}_0, b{v}_1);",
                fragment.instruction
            ),
        );
    }
    line(text, 1, "}");
    for (r, v) in cells() {
        let at = 2 * (r * columns + v);
        line(text, 1, format_args!("{c}[{at}] = c{r}_{v}_0;"));
        line(text, 1, format_args!("{c}[{}] = c{r}_{v}_1;", at + 1));
    }
}
