//! Products that 32 items compute together, by the matrix units of NVIDIA's devices: PTX inside OpenCL C. The runtime asks for
//! it (`NINC_TENSOR`) where a trial on the device gave the right numbers; elsewhere the leaf's own body says the same.

use super::line;
use crate::kernel::ir::Together;
use ninc_runtime::opencl::tensor::INSTRUCTION;
pub(super) use ninc_runtime::opencl::tensor::MACRO;

/// What stands in front of all functions where some of them have such a body.
pub(super) fn head() -> String {
    format!("#ifdef {MACRO}\n{INSTRUCTION}#endif\n\n")
}

/// The body of the leaf with these pointers.
pub(super) fn body(product: &Together, [a, b, c]: [&str; 3], text: &mut String) {
    let &Together { rows, columns, depth, pitches: [pitch_a, pitch_b] } = product;
    let cells = || (0..2 * rows).flat_map(|r| (0..columns).map(move |v| (r, v)));
    line(text, 1, "const idx g = (get_local_id(0) >> 2) & 7, t = get_local_id(0) & 3;");
    for (r, v) in cells() {
        let at = 2 * (r * columns + v);
        line(text, 1, format_args!("float c{r}_{v}_0 = {c}[{at}], c{r}_{v}_1 = {c}[{}];", at + 1));
    }
    line(text, 1, format_args!("for (idx k = 2 * t; k < {depth}; k += 16) {{"));
    for r in 0..2 * rows {
        for half in 0..2 {
            let at = |term: u32| format!("{a}[(k + {}) * {pitch_a} + {}]", 8 * half + term, 8 * r);
            line(text, 2, format_args!("const uint a{r}_{half} = PAIR({}, {});", at(0), at(1)));
        }
    }
    for v in 0..columns {
        for half in 0..2 {
            // The pointer is that of column 2t; as a factor an item holds column g.
            let at = |term: u32| format!("{b}[(k + {}) * {pitch_b} + {} + g - 2 * t]", 8 * half + term, 8 * v);
            line(text, 2, format_args!("const uint b{v}_{half} = PAIR({}, {});", at(0), at(1)));
        }
    }
    for (r, v) in cells().filter(|(r, _)| r % 2 == 0) {
        let next = r + 1;
        line(
            text,
            2,
            format_args!(
                "MMA(c{r}_{v}_0, c{r}_{v}_1, c{next}_{v}_0, c{next}_{v}_1, a{r}_0, a{next}_0, a{r}_1, a{next}_1, b{v}_0, b{v}_1);"
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
