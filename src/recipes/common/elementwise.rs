//! Elementwise work: one kernel for any function of values at the same place.

use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Access, Arg, Elem, Index, Memory, MicroKernelId, Param, Val};
use crate::lower::{LowerCx, LowerError, Lowered, Operand, Params, Pure, Stateless, code};
use crate::recipes::common::partition::{CopyRows, KernelWithOperands, Partition, Piece, rows};
use crate::types::Type;
use std::fmt::{self, Display, Write};

/// How an operand is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// Element by element.
    Same,
    /// One number for all.
    Scalar,
    /// One number per channel, which is the innermost dimension in memory.
    Channel,
    /// One number per plane: the channels of a value `[C, places]`, which lies as it is written.
    Plane,
    /// One number per channel of each image, at all of its pixels.
    Gate,
}

/// The most operands of a micro-kernel, which has six parameters at most and the result is one.
const MOST: usize = 5;

/// `result[i] = function(operands at i)`. An operand of the result's type is read element by element; a shared `[]`
/// (scalar) or `[C]` (per channel of a batched value) operand is broadcast, and so is `[C]` or `[C, 1, 1]` of each
/// image over its pixels. `what` is the function's name, for people. `function(builder, values, lanes)` gets one value
/// of `lanes` lanes per operand; it captures nothing.
pub fn map<F>(cx: &mut LowerCx, what: &str, function: F) -> Lowered
where
    F: Fn(&mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
{
    map_with(cx, what, (), move |(), b, values, lanes| function(b, values, lanes))
}

/// Like [`map`] with a function that reads parameters: `function(parameters, builder, values, lanes)`.
pub fn map_with<P: Params, F>(cx: &mut LowerCx, what: &str, params: P, function: F) -> Lowered
where
    F: Fn(&P, &mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
{
    let function = Pure::new(params, function);
    let ty = cx.result.ty.clone();
    let form = |operand: &Operand| {
        form(&operand.ty, &ty).ok_or_else(|| LowerError::Bug(format!("{what}: an operand {} for {ty}", operand.ty)))
    };
    let forms = cx.operands.iter().map(form).collect::<Result<Vec<_>, _>>()?;
    let channel = forms.iter().any(|form| [Form::Channel, Form::Gate].contains(form));
    let scalars = forms.iter().filter(|f| **f == Form::Scalar).count();
    let packed = forms.len() > MOST;
    if packed && forms.len() - scalars + 1 > MOST {
        return Err(LowerError::Unsupported(format!("{what}: {} operands are too many", forms.len())));
    }

    let width = match (channel, forms.contains(&Form::Plane)) {
        (true, _) => ty.dims[0],
        (_, true) => ty.dims[1],
        _ => 1,
    };
    let planes = ty.dims.first().copied().unwrap_or(1);
    let pixels = ty.elements() / planes.max(1);
    let (split, columns, lanes) = Partition::of(cx.target, &ty, width).items(cx.target, width);
    let elems: Vec<Elem> = cx.operands.iter().map(|o| cx.elem(o.buffer)).collect();
    let result_elem = cx.elem(cx.result.buffer);
    let mut nest = KernelWithOperands::new(cx, what, Access::Write);
    let (operands, result) = (nest.operands.clone(), nest.result);
    let pack = packed.then(|| Pack {
        memory: nest.kernel.scratch("scalars", Elem::F32, scalars),
        micro_kernel: CopyRows::one(Elem::F32, 1, 1).micro_kernel(cx),
    });
    let before = |k: &mut crate::kernel::build::KernelBuilder| {
        let Some(pack) = &pack else { return };
        let shared = operands.iter().zip(&forms).filter(|(_, f)| **f == Form::Scalar);
        for (i, (memory, _)) in shared.enumerate() {
            k.call(pack.micro_kernel, [memory.at(0), pack.memory.at(i)]);
        }
    };
    let body = |positions: usize| Body {
        forms: forms.clone(),
        elems: elems.clone(),
        result: result_elem,
        width: columns,
        positions,
        lanes,
        packed,
    };
    split.run_after(
        &mut nest.kernel,
        |k, _, _| before(k),
        |k, piece| {
            let body = body(piece.count);
            let name = format!("map_{what}_{body}");
            let micro_kernel =
                cx.micro_kernel(code(name, (body, function.clone()), |(body, function), b| body.write(b, function)));
            k.call(
                micro_kernel,
                arguments(piece, &operands, &forms, pack.as_ref().map(|p| p.memory), result, [width, planes, pixels]),
            );
        },
    );
    nest.launch(cx);
    Ok(())
}

/// Scalars gathered in one array, where there are more operands than parameters.
struct Pack {
    memory: Memory,
    micro_kernel: MicroKernelId,
}

fn form(operand: &Type, result: &Type) -> Option<Form> {
    let single = !operand.batched && operand.elements() == 1;
    // A per-channel operand of a value with one channel is a scalar too.
    if single
        && (operand.dims.is_empty() || operand.dims.len() == 1 && result.batched && result.dims.first() == Some(&1))
    {
        Some(Form::Scalar)
    } else if operand.batched == result.batched && operand.dims == result.dims {
        Some(Form::Same)
    } else if operand.batched && result.batched && result.dims.len() == 3 {
        (operand.elements() == result.dims[0] && operand.dims.first() == result.dims.first()).then_some(Form::Gate)
    } else if !operand.batched
        && result.batched
        && operand.dims.len() == 1
        && result.dims.first() == operand.dims.first()
    {
        match result.dims.as_slice() {
            [_, places] => (*places > 1).then_some(Form::Plane),
            _ => Some(Form::Channel),
        }
    } else {
        None
    }
}

fn arguments(
    piece: &Piece,
    operands: &[Memory],
    forms: &[Form],
    pack: Option<Memory>,
    result: Memory,
    [width, planes, pixels]: [usize; 3],
) -> Vec<Arg> {
    let at = &piece.position * width + &piece.column;
    let mut args: Vec<Arg> = pack.iter().map(|p| p.at(0)).collect();
    for (memory, form) in operands.iter().zip(forms) {
        match form {
            Form::Same => args.push(memory.at(&at)),
            Form::Scalar if pack.is_some() => {}
            Form::Scalar => args.push(memory.at(0)),
            Form::Channel => args.push(memory.at(&piece.column)),
            Form::Plane => args.push(memory.at(piece.position.rem(planes))),
            // A piece lies within an image.
            Form::Gate => args.push(memory.at(piece.position.div(pixels) * width + &piece.column)),
        }
    }
    args.push(result.at(at));
    args
}

/// All that decides the micro-kernel's code besides the function.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Body {
    /// How each operand is read.
    forms: Vec<Form>,
    elems: Vec<Elem>,
    result: Elem,
    width: usize,
    positions: usize,
    lanes: u32,
    packed: bool,
}

impl Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for letter in self.forms.iter().zip(&self.elems) {
            f.write_char(match letter {
                (Form::Same, Elem::I32) => 'i',
                (Form::Same, Elem::U8) => 'b',
                (Form::Same, Elem::Bf16) => 'h',
                (Form::Same, _) => 'e',
                (Form::Scalar, _) => 's',
                (Form::Channel, _) => 'c',
                (Form::Plane, _) => 'l',
                (Form::Gate, _) => 'g',
            })?;
        }
        let pack = if self.packed { "p" } else { "" };
        let to = match self.result {
            Elem::Bf16 => "_to_bf16",
            Elem::U8 => "_to_u8",
            _ => "",
        };
        write!(f, "{pack}{to}_{}x{}_v{}", self.positions, self.width, self.lanes)
    }
}

impl Body {
    fn write<P, F>(&self, b: &mut MicroKernelBuilder, function: &Pure<P, F>)
    where
        F: Fn(&P, &mut MicroKernelBuilder, &[Val], u32) -> Val + Stateless,
    {
        let (constants, function) = function.parts();
        let pack = self.packed.then(|| b.pointer("scalars", Elem::F32, Access::Read));
        let mut params = Vec::new();
        let mut scalars = 0;
        // Where each operand lies: parameter, element.
        for (i, (&form, &elem)) in self.forms.iter().zip(&self.elems).enumerate() {
            match (form, pack) {
                (Form::Scalar, Some(pack)) => {
                    params.push((pack, scalars));
                    scalars += 1;
                }
                _ => params.push((b.pointer(&format!("x{i}"), elem, Access::Read), 0)),
            }
        }
        let y = b.pointer("y", self.result, Access::Write);

        // Without channels the one row is the whole piece.
        let (count, width) = if self.width == 1 { (1, self.positions) } else { (self.positions, self.width) };
        let vector = self.lanes > 1 && width >= self.lanes as usize;
        let tail = width % self.lanes as usize != 0 || self.lanes == 1;
        let vectors = vector.then(|| self.scalars(b, &params, self.lanes));
        let singles = tail.then(|| self.scalars(b, &params, 1));
        rows(b, count, |b, row| {
            b.elements(width, self.lanes, |b, i, lanes| {
                let shared = if lanes == self.lanes && lanes > 1 { &vectors } else { &singles };
                let shared = shared.as_ref().expect("loaded for every width that occurs");
                let place = row.at(i.clone(), width);
                let values: Vec<Val> = (0..params.len())
                    .map(|n| match self.forms[n] {
                        Form::Same => b.load(params[n].0, place.clone(), lanes),
                        Form::Scalar => shared[n].expect("scalars are loaded before the loops"),
                        Form::Gate if self.width == 1 => b.broadcast(params[n].0, Index::from(0usize), lanes),
                        Form::Channel | Form::Gate => b.load(params[n].0, i.clone(), lanes),
                        Form::Plane => b.broadcast(params[n].0, row.at(Index::from(0usize), 1), lanes),
                    })
                    .collect();
                let value = function(constants, b, &values, lanes);
                b.store(y, place, value);
            });
        });
    }

    /// The scalar operands in every lane.
    fn scalars(&self, b: &mut MicroKernelBuilder, params: &[(Param, usize)], lanes: u32) -> Vec<Option<Val>> {
        let forms = self.forms.iter().zip(params);
        forms
            .map(|(form, &(param, at))| (*form == Form::Scalar).then(|| b.broadcast(param, Index::from(at), lanes)))
            .collect()
    }
}
