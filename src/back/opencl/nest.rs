//! Kernels: loops, conditions, addresses and calls.

use super::names::{Names, clean};
use super::{Area, UNROLL, area, line, memory_type, repeat, short, spilled};
use crate::kernel::interp::scratch_offsets;
use crate::kernel::ir::*;
use std::collections::BTreeMap;

pub(super) struct Nest<'a> {
    module: &'a Module,
    kernel: &'a Kernel,
    names: &'a Names,
    /// Functions called so far, by micro-kernel and address spaces.
    variants: &'a mut BTreeMap<(MicroKernelId, Vec<Area>), String>,
    /// Type of loop variables.
    index: &'static str,
    /// Which variables are never negative.
    natural: PrimaryMap<KVar, bool>,
}

impl<'a> Nest<'a> {
    /// Makes a writer for one kernel.
    pub fn new(
        module: &'a Module,
        kernel: &'a Kernel,
        names: &'a Names,
        variants: &'a mut BTreeMap<(MicroKernelId, Vec<Area>), String>,
    ) -> Nest<'a> {
        let index = if wide(kernel) { "long" } else { "idx" };
        let natural = kernel.vars.keys().map(KVar::is_given).collect();
        Nest { module, kernel, names, variants, index, natural }
    }

    /// Appends the kernel, under this name, to the text.
    pub fn kernel(&mut self, name: &str, text: &mut String) {
        let group = self.kernel.groups();
        self.head(name, group.as_ref().map(|g| g.items), text);
        self.variables(text);
        self.scratch(text);
        let index = self.index;
        match (group, self.kernel.body.as_slice()) {
            (Some(g), _) => {
                let (group, item) = (self.define(g.group), self.define(g.item));
                line(text, 1, format_args!("const {index} {group} = get_group_id(0);"));
                line(text, 1, format_args!("const {index} {item} = get_local_id(0);"));
                self.block(g.body, 1, text);
            }
            (None, [Stmt::For { var, end, body, .. }]) => {
                let (name, end) = (self.define(*var), self.expr(end));
                let (first, step) = ("get_global_id(0)", "get_global_size(0)");
                line(text, 1, format_args!("for ({index} {name} = {first}; {name} < {end}; {name} += {step}) {{"));
                self.block(body, 2, text);
                line(text, 1, "}");
            }
            _ => unreachable!("the verifier lets a CPU kernel be one parallel loop only"),
        }
        text.push_str("}\n\n");
    }

    /// Writes the kernel's name and parameters.
    fn head(&self, name: &str, items: Option<i64>, text: &mut String) {
        line(text, 0, format_args!("// {}: {}", self.kernel.name, self.about()));
        let mut params = Vec::new();
        for (i, b) in self.kernel.buffers.values().enumerate() {
            let constant = if b.access == Access::Read { "const " } else { "" };
            params.push(format!("__global {constant}uchar *m{i}, long o{i}"));
        }
        params.push("long batch_images, long first_image, long total_images".into());
        if spilled(self.kernel).next().is_some() {
            params.push("__global uchar *workspace".into());
        }
        if let Some(items) = items {
            line(text, 0, format_args!("__attribute__((reqd_work_group_size({items}, 1, 1)))"));
        }
        line(text, 0, format_args!("__kernel void {name}("));
        line(text, 1, params.join(",\n    "));
        line(text, 0, ") {");
    }

    /// Writes the variables that are always there, and the buffers as pointers to their elements.
    fn variables(&self, text: &mut String) {
        for (var, from) in [(KVar::BATCH, "batch_images"), (KVar::FIRST, "first_image"), (KVar::TOTAL, "total_images")]
        {
            line(text, 1, format_args!("const {} {} = {from};", self.index, self.var(var)));
        }
        for (id, b) in &self.kernel.buffers {
            let (ty, name, i) = (buffer_type(b), self.memory(Memory::Buffer(id)), id.index());
            line(text, 1, format_args!("__global {ty} *{name} = (__global {ty} *)(m{i} + o{i});"));
        }
    }

    fn about(&self) -> String {
        let list: Vec<String> = self.kernel.buffers.values().map(|b| format!("{} {}", b.name, b.elem)).collect();
        list.join(", ")
    }

    /// Declares the scratch arrays. Those too large for an item's own memory get a slice of the workspace for each
    /// item.
    fn scratch(&self, text: &mut String) {
        let (offsets, bytes) = scratch_offsets(spilled(self.kernel).map(|s| (s.elem, s.len)));
        let mut offsets = offsets.into_iter();
        for (id, s) in &self.kernel.scratch {
            let (name, ty) = (self.memory(Memory::Scratch(id)), memory_type(s.elem));
            match area(s) {
                // So that the driver may take four neighbours at once.
                Area::Local => {
                    line(text, 1, format_args!("__local {ty} {name}[{}] __attribute__((aligned(16)));", s.len));
                }
                Area::Private => line(text, 1, format_args!("{ty} {name}[{}];", s.len)),
                Area::Global => {
                    let offset = offsets.next().expect("one for each spilled array");
                    let place = format!("workspace + get_global_id(0) * {bytes}ul + {offset}");
                    line(text, 1, format_args!("__global {ty} *{name} = (__global {ty} *)({place});"));
                }
            }
        }
    }

    fn var(&self, var: KVar) -> String {
        let name = clean(&self.kernel.vars[var]);
        if var.is_given() { name } else { format!("{name}{}", var.index()) }
    }

    fn define(&mut self, var: KVar) -> String {
        self.natural[var] = true;
        self.var(var)
    }

    fn memory(&self, memory: Memory) -> String {
        match memory {
            Memory::Buffer(b) => format!("{}_{}", clean(&self.kernel.buffers[b].name), b.index()),
            Memory::Scratch(s) => format!("{}_s{}", clean(&self.kernel.scratch[s].name), s.index()),
        }
    }

    fn block(&mut self, body: &[Stmt], depth: usize, text: &mut String) {
        for stmt in body {
            match stmt {
                Stmt::For { var, begin, end, body, .. } => {
                    let natural = self.is_natural(begin);
                    let (begin, end) = (self.expr(begin), self.expr(end));
                    let name = self.var(*var);
                    self.natural[*var] = natural;
                    if short(&begin, &end) && self.picks_private(body, *var) {
                        line(text, depth, UNROLL);
                    }
                    repeat(text, depth, self.index, &name, &begin, &end);
                    self.block(body, depth + 1, text);
                    line(text, depth, "}");
                }
                Stmt::If { condition, then, otherwise } => {
                    line(text, depth, format_args!("if ({}) {{", self.expr(condition)));
                    self.block(then, depth + 1, text);
                    if !otherwise.is_empty() {
                        line(text, depth, "} else {");
                        self.block(otherwise, depth + 1, text);
                    }
                    line(text, depth, "}");
                }
                Stmt::Call { micro_kernel, args } => self.call(*micro_kernel, args, depth, text),
                Stmt::Barrier => line(text, depth, "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);"),
            }
        }
    }

    /// Does the loop's variable pick elements of an item's own arrays?
    fn picks_private(&self, body: &[Stmt], var: KVar) -> bool {
        let picks = |arg: &Arg| match arg {
            Arg::Pointer { memory: Memory::Scratch(scratch), offset } => {
                self.kernel.scratch[*scratch].space == Space::Private && offset.mentions(&[var])
            }
            Arg::Pointer { .. } | Arg::Int(_) => false,
        };
        statements(body).any(|stmt| matches!(stmt, Stmt::Call { args, .. } if args.iter().any(picks)))
    }

    fn call(&mut self, micro_kernel: MicroKernelId, args: &[Arg], depth: usize, text: &mut String) {
        let mut areas = Vec::new();
        let mut list = Vec::new();
        for arg in args {
            list.push(match arg {
                Arg::Int(e) => self.expr(e),
                Arg::Pointer { memory, offset } => {
                    areas.push(match memory {
                        Memory::Buffer(_) => Area::Global,
                        Memory::Scratch(i) => area(&self.kernel.scratch[*i]),
                    });
                    match offset {
                        Expr::Const(0) => self.memory(*memory),
                        _ => format!("{} + {}", self.memory(*memory), self.expr(offset)),
                    }
                }
            });
        }
        let base = &self.names.micro_kernels[micro_kernel];
        let plain = areas.iter().all(|a| *a == Area::Global);
        let name = self.variants.entry((micro_kernel, areas.clone())).or_insert_with(|| {
            let letters: String = areas.iter().map(|a| a.letter()).collect();
            if plain { base.clone() } else { format!("{base}__{letters}") }
        });
        debug_assert_eq!(self.module.micro_kernels[micro_kernel].params.len(), args.len());
        line(text, depth, format_args!("{name}({});", list.join(", ")));
    }

    fn is_natural(&self, e: &Expr) -> bool {
        match e {
            Expr::Const(c) => *c >= 0,
            Expr::Var(v) => self.natural[*v],
            Expr::Binary(op, l, r) => match op {
                ExprOp::Add | ExprOp::Mul | ExprOp::Min => self.is_natural(l) && self.is_natural(r),
                ExprOp::Div => self.is_natural(l),
                ExprOp::Max => self.is_natural(l) || self.is_natural(r),
                ExprOp::Rem | ExprOp::Lt | ExprOp::Eq => true,
                ExprOp::Sub => false,
            },
        }
    }

    fn expr(&self, e: &Expr) -> String {
        match e {
            Expr::Const(c) if *c < 0 => format!("({c})"),
            Expr::Const(c) if i32::try_from(*c).is_err() => format!("{c}L"),
            Expr::Const(c) => c.to_string(),
            Expr::Var(v) => self.var(*v),
            Expr::Binary(op, l, r) => {
                let (left, right) = (self.expr(l), self.expr(r));
                let index = self.index;
                match op {
                    ExprOp::Add => format!("({left} + {right})"),
                    ExprOp::Sub => format!("({left} - {right})"),
                    ExprOp::Mul => format!("{left} * {right}"),
                    ExprOp::Div if self.is_natural(l) => format!("({left} / {right})"),
                    ExprOp::Rem if self.is_natural(l) => format!("({left} % {right})"),
                    ExprOp::Div => format!("FLOOR_DIV({left}, {right})"),
                    ExprOp::Rem => format!("FLOOR_REM({left}, {right})"),
                    ExprOp::Min => format!("min(({index})({left}), ({index})({right}))"),
                    ExprOp::Max => format!("max(({index})({left}), ({index})({right}))"),
                    ExprOp::Lt => format!("({left} < {right})"),
                    ExprOp::Eq => format!("({left} == {right})"),
                }
            }
        }
    }
}

fn buffer_type(b: &BufferParam) -> String {
    let constant = if b.access == Access::Read { "const " } else { "" };
    format!("{constant}{}", memory_type(b.elem))
}

/// Does any expression need 64 bits whatever the sizes are?
fn wide(kernel: &Kernel) -> bool {
    let large = |e: &Expr| matches!(e, Expr::Const(c) if i32::try_from(*c).is_err());
    kernel.statements().flat_map(Stmt::exprs).any(|e| e.any(&mut { large }))
}
