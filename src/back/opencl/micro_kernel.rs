//! Micro-kernels: values become variables, loops carry theirs in variables that live outside of them.

use super::names::clean;
use super::{Area, UNROLL, line, memory_type, short, tensor};
use crate::back::EmitError;
use crate::kernel::ir::*;

const PACKED: &str = "packed loads";
const PAIRS: &str = "pairwise products of bf16";
const BYTES: &str = "products of bytes and of 16-bit numbers";
const TILES: &str = "products of tiles";
/// Features that OpenCL C has no short way for.
pub(super) const MISSING: [&str; 4] = [PACKED, PAIRS, BYTES, TILES];

/// The missing feature that an operation needs.
fn missing(op: &Op) -> Option<&'static str> {
    match op {
        Op::LoadPacked { .. } | Op::BroadcastPacked { .. } => Some(PACKED),
        Op::Dot2Bf16 { .. } => Some(PAIRS),
        Op::Dot2I16 { .. } | Op::Dot4U8I8 { .. } => Some(BYTES),
        Op::Binary { op, .. } if op.of_halves() => Some(BYTES),
        Op::LoadTile { .. } | Op::Outer { .. } => Some(TILES),
        _ => None,
    }
}

/// Writes the function for pointers into `areas` (one for each pointer parameter).
pub(super) fn function(
    micro_kernel: &MicroKernel,
    name: &str,
    areas: &[Area],
    text: &mut String,
) -> Result<(), EmitError> {
    let mut areas = areas.iter();
    let (mut params, mut private) = (Vec::new(), PrimaryMap::new());
    for (id, p) in &micro_kernel.params {
        params.push(match p {
            MicroKernelParam::Pointer { name, elem, access } => {
                let area = areas.next().expect("one for each pointer");
                private.push(*area == Area::Private);
                let constant = if *access == Access::Read { "const " } else { "" };
                format!("{}{constant}{} *{}", area.word(), memory_type(*elem), pointer_name(name, id))
            }
            MicroKernelParam::Int { var, .. } => {
                private.push(false);
                format!("const idx {}", var_name(micro_kernel, *var))
            }
        });
    }
    line(text, 0, format_args!("void {name}({}) {{", params.join(", ")));
    let names = micro_kernel.values.keys().map(|v| format!("v{}", v.index())).collect();
    if let Some(product) = &micro_kernel.warp_cooperative {
        let [a, b, c] = [0, 1, 2].map(|i| pointer(micro_kernel, Param::new(i)));
        line(text, 0, format_args!("#ifdef {}", tensor::MACRO));
        tensor::body(product, [&a, &b, &c], text);
        line(text, 0, "#else");
    }
    Writer { micro_kernel, private, names, text: &mut *text }.block(&micro_kernel.body, 1)?;
    if micro_kernel.warp_cooperative.is_some() {
        line(text, 0, "#endif");
    }
    text.push_str("}\n\n");
    Ok(())
}

/// Names a pointer parameter.
fn pointer(micro_kernel: &MicroKernel, param: Param) -> String {
    match &micro_kernel.params[param] {
        MicroKernelParam::Pointer { name, .. } | MicroKernelParam::Int { name, .. } => pointer_name(name, param),
    }
}

fn pointer_name(name: &str, param: Param) -> String {
    format!("{}_{}", clean(name), param.index())
}

fn var_name(micro_kernel: &MicroKernel, var: Var) -> String {
    // Values are called `v0`, pointers `name_0`.
    format!("i{}_{}", var.index(), clean(&micro_kernel.vars[var]))
}

struct Writer<'a> {
    micro_kernel: &'a MicroKernel,
    /// Which parameters point to an item's own arrays.
    private: PrimaryMap<Param, bool>,
    /// What each value is called.
    names: PrimaryMap<Val, String>,
    text: &'a mut String,
}

impl Writer<'_> {
    fn ty(&self, v: Val) -> Ty {
        self.micro_kernel.values[v]
    }

    fn name(&self, v: Val) -> &str {
        &self.names[v]
    }

    fn block(&mut self, body: &[Inst], depth: usize) -> Result<(), EmitError> {
        for inst in body {
            match inst {
                Inst::Let { result, op } => {
                    let value = self.op(op)?;
                    let text = format!("const {} {} = {value};", c_type(self.ty(*result)), self.name(*result));
                    line(self.text, depth, text);
                }
                Inst::Store { to, value, count } => self.store(to, *value, *count, depth),
                Inst::StoreTile { .. } => return Err(EmitError::Unsupported(TILES.into())),
                Inst::Prefetch { .. } => {}
                Inst::Loop { .. } => self.repeat(inst, depth)?,
            }
        }
        Ok(())
    }

    fn repeat(&mut self, inst: &Inst, depth: usize) -> Result<(), EmitError> {
        let Inst::Loop { var, count, init, params, body, next, results } = inst else { return Ok(()) };
        for (p, i) in params.iter().zip(init) {
            let text = format!("{} {} = {};", c_type(self.ty(*p)), self.name(*p), self.name(*i));
            line(self.text, depth, text);
        }
        let (name, count) = (var_name(self.micro_kernel, *var), self.index(count));
        if short("0", &count) && self.picks_private(body, *var) {
            line(self.text, depth, UNROLL);
        }
        super::repeat(self.text, depth, "idx", &name, "0", &count);
        self.block(body, depth + 1)?;
        // A value that another one takes over must not be overwritten first.
        let crossed = |i: usize| params.iter().enumerate().any(|(j, p)| j != i && *p == next[i]);
        for i in (0..next.len()).filter(|&i| crossed(i)) {
            let text = format!("const {} t{i} = {};", c_type(self.ty(next[i])), self.name(next[i]));
            line(self.text, depth + 1, text);
        }
        for (i, p) in params.iter().enumerate().filter(|&(i, p)| *p != next[i]) {
            let value = if crossed(i) { format!("t{i}") } else { self.name(next[i]).to_string() };
            let text = format!("{} = {value};", self.name(*p));
            line(self.text, depth + 1, text);
        }
        line(self.text, depth, "}");
        for (p, r) in params.iter().zip(results) {
            self.names[*r] = self.names[*p].clone();
        }
        Ok(())
    }

    /// Does the loop's variable pick elements of an item's own arrays?
    fn picks_private(&self, body: &[Inst], var: Var) -> bool {
        let own = |at: &Address| self.private[at.base] && at.index.terms.iter().any(|(v, _)| *v == var);
        instructions(body).filter_map(Inst::address).any(own)
    }

    fn index(&self, index: &Index) -> String {
        let mut terms: Vec<String> = Vec::new();
        for &(var, c) in &index.terms {
            let name = var_name(self.micro_kernel, var);
            terms.push(if c == 1 { name } else { format!("{name} * {c}") });
        }
        if index.offset != 0 || terms.is_empty() {
            terms.push(index.offset.to_string());
        }
        terms.join(" + ").replace("+ -", "- ")
    }

    fn base(&self, base: Param) -> (String, Elem) {
        match &self.micro_kernel.params[base] {
            MicroKernelParam::Pointer { name, elem, .. } => (pointer_name(name, base), *elem),
            MicroKernelParam::Int { .. } => unreachable!("the verifier wants a pointer here"),
        }
    }

    /// Emits element `lane` behind an address, as a value.
    fn element(&self, at: &Address, lane: u32) -> String {
        let (base, elem) = self.base(at.base);
        let index = self.index(&at.index.clone().offset(lane.into()));
        let place = format!("{base}[{index}]");
        match elem {
            Elem::Bf16 => format!("as_float((uint){place} << 16)"),
            Elem::I16 | Elem::I8 => format!("(uint)(int){place}"),
            Elem::U8 => format!("(uint){place}"),
            Elem::F32 | Elem::I32 | Elem::Mask => place,
        }
    }

    fn load(&self, from: &Address, ty: Ty, count: Option<u32>) -> String {
        if ty.lanes == 1 {
            return self.element(from, 0);
        }
        let (base, elem) = self.base(from.base);
        if count.is_none() && matches!(elem, Elem::F32 | Elem::I32) {
            return format!("vload{}(0, {base} + {})", ty.lanes, self.index(&from.index));
        }
        if count.is_none() && elem == Elem::Bf16 {
            let (n, index) = (ty.lanes, self.index(&from.index));
            return format!("as_float{n}(convert_uint{n}(vload{n}(0, {base} + {index})) << 16)");
        }
        let zero = if ty.elem == Elem::F32 { "0.0f" } else { "0u" };
        let there = count.unwrap_or(ty.lanes);
        let lanes = (0..ty.lanes).map(|l| if l < there { self.element(from, l) } else { zero.into() });
        format!("({})({})", c_type(ty), lanes.collect::<Vec<_>>().join(", "))
    }

    fn store(&mut self, to: &Address, value: Val, count: Option<u32>, depth: usize) {
        let (base, elem) = self.base(to.base);
        let ty = self.ty(value);
        let name = self.name(value).to_string();
        if ty.lanes > 1 && count.is_none() && matches!(elem, Elem::F32 | Elem::I32) {
            let index = self.index(&to.index);
            return line(self.text, depth, format_args!("vstore{}({name}, 0, {base} + {index});", ty.lanes));
        }
        if ty.lanes > 1 && count.is_none() && elem == Elem::Bf16 {
            let (n, index) = (ty.lanes, self.index(&to.index));
            let (bits, nan) = (format!("as_uint{n}({name})"), format!("as_uint{n}(isnan({name}))"));
            let rounded = format!("({bits} + 0x7fffu + (({bits} >> 16) & 1u)) >> 16");
            let value = format!("convert_ushort{n}(select({rounded}, ({bits} >> 16) | 64u, {nan}))");
            return line(self.text, depth, format_args!("vstore{n}({value}, 0, {base} + {index});"));
        }
        for lane in 0..count.unwrap_or(ty.lanes) {
            let value = if ty.lanes == 1 { name.clone() } else { format!("{name}.s{lane:x}") };
            let value = match elem {
                Elem::F32 | Elem::I32 | Elem::Mask => value,
                // To the nearest, ties to even; a NaN keeps its sign and stays one.
                Elem::Bf16 => format!(
                    "(ushort)(isnan({value}) ? (as_uint({value}) >> 16) | 64u : \
                     (as_uint({value}) + 0x7fffu + ((as_uint({value}) >> 16) & 1u)) >> 16)"
                ),
                Elem::I16 => format!("as_short((ushort)({value}))"),
                Elem::U8 => format!("(uchar)({value})"),
                Elem::I8 => format!("as_char((uchar)({value}))"),
            };
            let index = self.index(&to.index.clone().offset(lane.into()));
            line(self.text, depth, format_args!("{base}[{index}] = {value};"));
        }
    }

    fn op(&self, op: &Op) -> Result<String, EmitError> {
        if let Some(what) = missing(op) {
            let name = &self.micro_kernel.name;
            return Err(EmitError::Unsupported(format!("micro-kernel {name}: OpenCL C has no {what} here")));
        }
        let n = |v: &Val| self.name(*v).to_string();
        Ok(match op {
            Op::ConstF32 { bits, lanes } => splat(&float(*bits), Elem::F32, *lanes),
            Op::ConstI32 { value, lanes } => splat(&format!("{}u", *value as u32), Elem::I32, *lanes),
            Op::Iota { lanes: 1 } => "0u".into(),
            Op::Iota { lanes } => {
                let list: Vec<String> = (0..*lanes).map(|l| l.to_string()).collect();
                format!("({})({})", c_type(Ty::i32(*lanes)), list.join(", "))
            }
            Op::IndexI32 { index, lanes } => splat(&format!("(uint)({})", self.index(index)), Elem::I32, *lanes),
            Op::Splat { value, lanes } => splat(self.name(*value), self.ty(*value).elem, *lanes),
            Op::Load { from, ty, count } => self.load(from, *ty, *count),
            Op::Broadcast { from, ty } => splat(&self.element(from, 0), ty.elem, ty.lanes),
            Op::Unary { op, value } => unary(*op, &n(value), self.ty(*value).lanes),
            Op::Binary { op, left, right } => binary(*op, &n(left), &n(right), self.ty(*left)),
            Op::Fma { a, b, c } => format!("FMA({}, {}, {})", n(a), n(b), n(c)),
            Op::Compare { op, left, right } => {
                let sign = match op {
                    Compare::Eq => "==",
                    Compare::Ne => "!=",
                    Compare::Lt => "<",
                    Compare::Le => "<=",
                    Compare::Gt => ">",
                    Compare::Ge => ">=",
                };
                let ty = self.ty(*left);
                let signed = |v: &Val| if ty.elem == Elem::I32 { as_int(&n(v), ty.lanes) } else { n(v) };
                format!("{} {sign} {}", signed(left), signed(right))
            }
            Op::Select { mask, then, otherwise } => {
                choose(self.name(*mask), self.name(*then), self.name(*otherwise), self.ty(*then).lanes)
            }
            Op::Zip { left, right, high } => {
                let (ty, half) = (self.ty(*left), if *high { "hi" } else { "lo" });
                let (l, r) = (n(left), n(right));
                let lane = |i: u32| format!("{}.{half}.s{:x}", if i.is_multiple_of(2) { &l } else { &r }, i / 2);
                format!("({})({})", c_type(ty), (0..ty.lanes).map(lane).collect::<Vec<_>>().join(", "))
            }
            Op::Reduce { op, value } => {
                let ty = self.ty(*value);
                let mut name = n(value);
                let mut lanes = ty.lanes;
                while lanes > 1 {
                    lanes /= 2;
                    let half = Ty { elem: ty.elem, lanes };
                    name = format!("({})", binary(*op, &format!("{name}.lo"), &format!("{name}.hi"), half));
                }
                name
            }
            Op::LoadPacked { .. } | Op::BroadcastPacked { .. } | Op::Dot2Bf16 { .. } => {
                unreachable!("`missing` has named them")
            }
            Op::Dot2I16 { .. } | Op::Dot4U8I8 { .. } => unreachable!("`missing` has named them"),
            Op::LoadTile { .. } | Op::Outer { .. } => unreachable!("`missing` has named them"),
        })
    }
}

fn unary(op: Unary, v: &str, lanes: u32) -> String {
    let wide = if lanes == 1 { String::new() } else { lanes.to_string() };
    match op {
        Unary::Neg => format!("-{v}"),
        Unary::Abs => format!("fabs({v})"),
        Unary::Sqrt => format!("sqrt({v})"),
        Unary::Round => format!("rint({v})"),
        Unary::Floor => format!("floor({v})"),
        Unary::ToInt => format!("as_uint{wide}(convert_int{wide}_rtz({v}))"),
        Unary::ToByte => format!("as_uint{wide}(convert_int{wide}_rte(fmin(fmax({v}, 0.0f), 255.0f)))"),
        Unary::ToFloat => format!("convert_float{wide}({})", as_int(v, lanes)),
        Unary::AsInt => format!("as_uint{wide}({v})"),
        Unary::AsFloat => format!("as_float{wide}({v})"),
    }
}

fn binary(op: Binary, l: &str, r: &str, ty: Ty) -> String {
    let float = ty.elem == Elem::F32;
    let wide = if ty.lanes == 1 { String::new() } else { ty.lanes.to_string() };
    match op {
        Binary::Add => format!("{l} + {r}"),
        Binary::Sub => format!("{l} - {r}"),
        Binary::Mul => format!("{l} * {r}"),
        Binary::Div => format!("{l} / {r}"),
        // The comparison decides what a NaN gives; `fmax` would decide otherwise.
        Binary::Max if float => choose(&format!("{l} > {r}"), l, r, ty.lanes),
        Binary::Min if float => choose(&format!("{l} < {r}"), l, r, ty.lanes),
        Binary::Max => format!("as_uint{wide}(max({}, {}))", as_int(l, ty.lanes), as_int(r, ty.lanes)),
        Binary::Min => format!("as_uint{wide}(min({}, {}))", as_int(l, ty.lanes), as_int(r, ty.lanes)),
        Binary::MulHighU => format!("mul_hi({l}, {r})"),
        Binary::And => format!("{l} & {r}"),
        Binary::Or => format!("{l} | {r}"),
        Binary::Xor => format!("{l} ^ {r}"),
        Binary::Shl => format!("{l} << {r}"),
        Binary::ShrU => format!("{l} >> {r}"),
        Binary::ShrS => format!("as_uint{wide}({} >> {r})", as_int(l, ty.lanes)),
        Binary::MulBytes | Binary::AddHalves | Binary::SumHalves => unreachable!("`missing` has named them"),
    }
}

fn choose(mask: &str, then: &str, otherwise: &str, lanes: u32) -> String {
    if lanes == 1 { format!("{mask} ? {then} : {otherwise}") } else { format!("select({otherwise}, {then}, {mask})") }
}

fn as_int(v: &str, lanes: u32) -> String {
    if lanes == 1 { format!("as_int({v})") } else { format!("as_int{lanes}({v})") }
}

fn splat(value: &str, elem: Elem, lanes: u32) -> String {
    if lanes == 1 { value.into() } else { format!("({})({value})", c_type(Ty { elem, lanes })) }
}

fn c_type(ty: Ty) -> String {
    let name = match ty.elem {
        Elem::F32 | Elem::Bf16 => "float",
        Elem::Mask => "int",
        Elem::I32 | Elem::I16 | Elem::U8 | Elem::I8 => "uint",
    };
    if ty.lanes == 1 { name.into() } else { format!("{name}{}", ty.lanes) }
}

/// Writes a float literal that reads back as the same bits.
fn float(bits: u32) -> String {
    let value = f32::from_bits(bits);
    if !value.is_finite() || (value == 0.0 && value.is_sign_negative()) {
        return format!("as_float(0x{bits:08x}u)");
    }
    // Shortest digits that read back as this number.
    let text = format!("{value:?}");
    let text = if text.contains(['.', 'e']) { text } else { format!("{text}.0") };
    if value < 0.0 { format!("({text}f)") } else { format!("{text}f") }
}
