//! Builders that recipes write micro-kernels and kernels with.

use super::ir::*;

/// Builds one [`MicroKernel`]. Methods append to the innermost open loop body.
pub struct MicroKernelBuilder {
    micro_kernel: MicroKernel,
    /// Bodies of the loops that are open, outermost (the micro-kernel's own) first.
    open: Vec<Vec<Inst>>,
}

impl MicroKernelBuilder {
    /// Starts a micro-kernel without parameters.
    pub fn new(name: impl Into<String>) -> MicroKernelBuilder {
        let micro_kernel = MicroKernel {
            name: name.into(),
            params: PrimaryMap::new(),
            values: PrimaryMap::new(),
            vars: PrimaryMap::new(),
            body: vec![],
            warp_cooperative: None,
        };
        MicroKernelBuilder { micro_kernel, open: vec![vec![]] }
    }

    /// Says that 32 items compute this product by calling the micro-kernel at once.
    pub fn warp_cooperative(&mut self, product: WarpProduct) {
        self.micro_kernel.warp_cooperative = Some(product);
    }

    /// Adds a parameter: the address of elements in memory.
    pub fn pointer(&mut self, name: &str, elem: Elem, access: Access) -> Param {
        self.micro_kernel.params.push(MicroKernelParam::Pointer { name: name.into(), elem, access })
    }

    /// Adds an integer parameter, which indices and counts can use.
    pub fn int(&mut self, name: &str) -> Var {
        let var = self.var(name);
        self.micro_kernel.params.push(MicroKernelParam::Int { name: name.into(), var });
        var
    }

    fn var(&mut self, name: &str) -> Var {
        self.micro_kernel.vars.push(name.into())
    }

    fn value(&mut self, ty: Ty) -> Val {
        self.micro_kernel.values.push(ty)
    }

    fn push(&mut self, inst: Inst) {
        self.open.last_mut().expect("a body is open").push(inst);
    }

    /// The type of a value.
    pub fn ty(&self, value: Val) -> Ty {
        self.micro_kernel.values[value]
    }

    /// Appends `op` and returns its result.
    pub fn op(&mut self, op: Op) -> Val {
        let ty = op.result(|v| self.ty(v));
        let result = self.value(ty);
        self.push(Inst::Let { result, op });
        result
    }

    /// A float constant in every lane.
    pub fn f32(&mut self, value: f32, lanes: u32) -> Val {
        self.op(Op::ConstF32 { bits: value.to_bits(), lanes })
    }

    /// An integer constant in every lane.
    pub fn i32(&mut self, value: i32, lanes: u32) -> Val {
        self.op(Op::ConstI32 { value, lanes })
    }

    /// A value of one lane in every one of `lanes` lanes.
    pub fn splat(&mut self, value: Val, lanes: u32) -> Val {
        if lanes == 1 { value } else { self.op(Op::Splat { value, lanes }) }
    }

    /// Loads `lanes` elements from `index` on; elements of 16 bits or fewer are widened to 32.
    pub fn load(&mut self, base: Param, index: impl Into<Index>, lanes: u32) -> Val {
        let ty = self.loaded(base, lanes);
        self.op(Op::Load { from: Address { base, index: index.into() }, ty, count: None })
    }

    /// Says that this memory will be read soon.
    pub fn prefetch(&mut self, base: Param, index: impl Into<Index>) {
        self.push(Inst::Prefetch { from: Address { base, index: index.into() } });
    }

    /// Loads the first `count` elements; the other lanes are 0.
    pub fn load_partial(&mut self, base: Param, index: impl Into<Index>, lanes: u32, count: u32) -> Val {
        let ty = self.loaded(base, lanes);
        let count = (count < lanes).then_some(count);
        self.op(Op::Load { from: Address { base, index: index.into() }, ty, count })
    }

    /// Loads one element into every lane.
    pub fn broadcast(&mut self, base: Param, index: impl Into<Index>, lanes: u32) -> Val {
        let ty = self.loaded(base, lanes);
        self.op(Op::Broadcast { from: Address { base, index: index.into() }, ty })
    }

    fn loaded(&self, base: Param, lanes: u32) -> Ty {
        match &self.micro_kernel.params[base] {
            MicroKernelParam::Pointer { elem: Elem::F32 | Elem::Bf16, .. } => Ty::f32(lanes),
            _ => Ty::i32(lanes),
        }
    }

    /// Stores all lanes from `index` on.
    pub fn store(&mut self, base: Param, index: impl Into<Index>, value: Val) {
        self.push(Inst::Store { to: Address { base, index: index.into() }, value, count: None });
    }

    /// Stores the first `count` lanes.
    pub fn store_partial(&mut self, base: Param, index: impl Into<Index>, value: Val, count: u32) {
        let count = (count < self.ty(value).lanes).then_some(count);
        self.push(Inst::Store { to: Address { base, index: index.into() }, value, count });
    }

    /// A tile of zeros.
    pub fn zero_tile(&mut self, sums: Elem) -> Val {
        let lanes = Ty::TILE;
        self.op(if sums == Elem::F32 { Op::ConstF32 { bits: 0, lanes } } else { Op::ConstI32 { value: 0, lanes } })
    }

    /// Loads 16 rows of 64 bytes that are `pitch` elements apart; `stream` as [`Op::LoadTile`] says.
    pub fn load_tile(&mut self, base: Param, index: impl Into<Index>, pitch: usize, stream: bool) -> Val {
        let elem = self.micro_kernel.params[base].elem().and_then(Elem::tile).unwrap_or(Elem::I32);
        let from = Address { base, index: index.into() };
        self.op(Op::LoadTile { from, elem, pitch: pitch as u32, stream })
    }

    /// Stores the rows of a tile, `pitch` elements apart.
    pub fn store_tile(&mut self, base: Param, index: impl Into<Index>, value: Val, pitch: usize) {
        self.push(Inst::StoreTile { to: Address { base, index: index.into() }, value, pitch: pitch as u32 });
    }

    /// Adds to `acc` the products of the rows of `a` with the columns of `b`.
    pub fn outer(&mut self, kind: Outer, acc: Val, a: Val, b: Val) -> Val {
        self.op(Op::Outer { kind, acc, a, b })
    }

    /// Appends an operation with one operand.
    pub fn unary(&mut self, op: Unary, value: Val) -> Val {
        self.op(Op::Unary { op, value })
    }

    /// Appends an operation with two operands of one type.
    pub fn binary(&mut self, op: Binary, left: Val, right: Val) -> Val {
        self.op(Op::Binary { op, left, right })
    }

    /// `left + right`
    pub fn add(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Add, left, right)
    }

    /// `left - right`
    pub fn sub(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Sub, left, right)
    }

    /// `left · right`
    pub fn mul(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Mul, left, right)
    }

    /// `left / right`
    pub fn div(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Div, left, right)
    }

    /// The larger of the two, lane by lane.
    pub fn max(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Max, left, right)
    }

    /// The smaller of the two, lane by lane.
    pub fn min(&mut self, left: Val, right: Val) -> Val {
        self.binary(Binary::Min, left, right)
    }

    /// Computes `a · b + c`, rounded once.
    pub fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.op(Op::Fma { a, b, c })
    }

    /// A mask of the lanes where the comparison holds.
    pub fn compare(&mut self, op: Compare, left: Val, right: Val) -> Val {
        self.op(Op::Compare { op, left, right })
    }

    /// `then` in the lanes of the mask, `otherwise` in the others.
    pub fn select(&mut self, mask: Val, then: Val, otherwise: Val) -> Val {
        self.op(Op::Select { mask, then, otherwise })
    }

    /// Interleaves the lanes of the lower or upper halves, see [`Op::Zip`].
    pub fn zip(&mut self, left: Val, right: Val, high: bool) -> Val {
        self.op(Op::Zip { left, right, high })
    }

    /// Joins all lanes of a value to one lane.
    pub fn reduce(&mut self, op: Binary, value: Val) -> Val {
        if self.ty(value).lanes == 1 { value } else { self.op(Op::Reduce { op, value }) }
    }

    /// A counted loop that carries values: `body(builder, counter, carried) -> next`. Returns the last carried values.
    pub fn repeat(
        &mut self,
        name: &str,
        count: impl Into<Index>,
        init: &[Val],
        body: impl FnOnce(&mut MicroKernelBuilder, Var, &[Val]) -> Vec<Val>,
    ) -> Vec<Val> {
        let var = self.var(name);
        let types: Vec<Ty> = init.iter().map(|&v| self.ty(v)).collect();
        let params: Vec<Val> = types.iter().map(|&t| self.value(t)).collect();
        self.open.push(vec![]);
        let next = body(self, var, &params);
        let body = self.open.pop().expect("the loop's own body");
        let results: Vec<Val> = types.iter().map(|&t| self.value(t)).collect();
        let count = count.into();
        self.push(Inst::Loop { var, count, init: init.to_vec(), params, body, next, results: results.clone() });
        results
    }

    /// Runs over `count` elements, `lanes` at a time, then the rest one by one: `body(builder, index, lanes)`.
    pub fn elements(&mut self, count: usize, lanes: u32, mut body: impl FnMut(&mut MicroKernelBuilder, Index, u32)) {
        let whole = count / lanes as usize;
        if lanes > 1 && whole > 0 {
            self.repeat("v", whole, &[], |b, v, _| {
                body(b, Index::default().plus(v, lanes.into()), lanes);
                vec![]
            });
        }
        let done = if lanes > 1 { whole * lanes as usize } else { 0 };
        if done < count {
            self.repeat("t", count - done, &[], |b, t, _| {
                body(b, Index::from(done).plus(t, 1), 1);
                vec![]
            });
        }
    }

    /// Ends the micro-kernel. Panics if a loop is still open.
    pub fn finish(mut self) -> MicroKernel {
        self.micro_kernel.body = self.open.pop().expect("the micro-kernel's own body");
        assert!(self.open.is_empty(), "a loop of micro-kernel {} was left open", self.micro_kernel.name);
        self.micro_kernel
    }
}

/// Builds one [`Kernel`].
pub struct KernelBuilder {
    kernel: Kernel,
    open: Vec<Vec<Stmt>>,
}

impl KernelBuilder {
    /// Starts a kernel without buffers.
    pub fn new(name: impl Into<String>) -> KernelBuilder {
        let vars = KVar::NAMES.map(String::from).into_iter().collect();
        let (buffers, scratch) = (PrimaryMap::new(), PrimaryMap::new());
        let kernel = Kernel { name: name.into(), buffers, scratch, vars, body: vec![] };
        KernelBuilder { kernel, open: vec![vec![]] }
    }

    /// Adds a parameter: a buffer of these elements.
    pub fn buffer(&mut self, name: &str, elem: Elem, access: Access) -> Memory {
        Memory::Buffer(self.kernel.buffers.push(BufferParam { name: name.into(), elem, access }))
    }

    /// Adds `len` elements of memory that each iteration of the parallel loop has to itself.
    pub fn scratch(&mut self, name: &str, elem: Elem, len: usize) -> Memory {
        self.in_space(name, elem, len, Space::Cache)
    }

    /// Memory that the items of a group share.
    pub fn local(&mut self, name: &str, elem: Elem, len: usize) -> Memory {
        self.in_space(name, elem, len, Space::Local)
    }

    /// Adds memory of one work item: a few elements at constant places, so that they become registers.
    pub fn private(&mut self, name: &str, elem: Elem, len: usize) -> Memory {
        self.in_space(name, elem, len, Space::Private)
    }

    fn in_space(&mut self, name: &str, elem: Elem, len: usize, space: Space) -> Memory {
        Memory::Scratch(self.kernel.scratch.push(Scratch { name: name.into(), elem, len, space }))
    }

    /// Adds a GPU kernel's two loops: `groups` groups of `items` items, `body(builder, group, item)`.
    pub fn groups(&mut self, groups: impl Into<Expr>, items: usize, body: impl FnOnce(&mut KernelBuilder, Expr, Expr)) {
        self.range("group", LoopKind::Group, 0, groups, |k, group| {
            k.range("item", LoopKind::Item, 0, items, |k, item| body(k, group, item));
        });
    }

    /// Makes all items of the group wait for each other.
    pub fn barrier(&mut self) {
        self.push(Stmt::Barrier);
    }

    /// Adds `for name in begin..end { body(builder, variable) }`.
    pub fn range(
        &mut self,
        name: &str,
        kind: LoopKind,
        begin: impl Into<Expr>,
        end: impl Into<Expr>,
        body: impl FnOnce(&mut KernelBuilder, Expr),
    ) {
        let var = self.kernel.vars.push(name.into());
        self.open.push(vec![]);
        body(self, Expr::Var(var));
        let body = self.open.pop().expect("the loop's own body");
        self.push(Stmt::For { var, kind, begin: begin.into(), end: end.into(), body });
    }

    /// Adds `for name in 0..end`, in order.
    pub fn serial(&mut self, name: &str, end: impl Into<Expr>, body: impl FnOnce(&mut KernelBuilder, Expr)) {
        self.range(name, LoopKind::Serial, 0, end, body);
    }

    /// Adds `for name in 0..end`, whose iterations are independent of each other and run on all threads.
    pub fn parallel(&mut self, name: &str, end: impl Into<Expr>, body: impl FnOnce(&mut KernelBuilder, Expr)) {
        self.range(name, LoopKind::Parallel, 0, end, body);
    }

    /// Runs `then` if the condition is not 0.
    pub fn when(&mut self, condition: Expr, then: impl FnOnce(&mut KernelBuilder)) {
        match condition {
            Expr::Const(1) => then(self),
            condition => self.either(condition, then, |_| {}),
        }
    }

    /// Runs `then` if the condition is not 0, else `otherwise`.
    pub fn either(
        &mut self,
        condition: Expr,
        then: impl FnOnce(&mut KernelBuilder),
        otherwise: impl FnOnce(&mut KernelBuilder),
    ) {
        self.open.push(vec![]);
        then(self);
        let then = self.open.pop().expect("the branch's own body");
        self.open.push(vec![]);
        otherwise(self);
        let otherwise = self.open.pop().expect("the branch's own body");
        self.push(Stmt::If { condition, then, otherwise });
    }

    /// Calls a micro-kernel with arguments in the order of its parameters.
    pub fn call(&mut self, micro_kernel: MicroKernelId, args: impl Into<Vec<Arg>>) {
        self.push(Stmt::Call { micro_kernel, args: args.into() });
    }

    fn push(&mut self, stmt: Stmt) {
        self.open.last_mut().expect("a body is open").push(stmt);
    }

    /// Ends the kernel. Panics if a loop is still open.
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.open.pop().expect("the kernel's own body");
        assert!(self.open.is_empty(), "a loop of kernel {} was left open", self.kernel.name);
        self.kernel
    }
}

impl Module {
    /// Adds a micro-kernel.
    pub fn micro_kernel(&mut self, name: &str, build: impl FnOnce(&mut MicroKernelBuilder)) -> MicroKernelId {
        let mut builder = MicroKernelBuilder::new(name);
        build(&mut builder);
        self.micro_kernels.push(builder.finish())
    }
}
