//! From graph to kernels: walks the graph in the order of its schedule, gives each value a buffer and lets each
//! operator write its launches into one program.

use crate::graph::engine::{input_port, port};
use crate::graph::{Graph, NodeId};
use crate::kernel::ir::EntityRef;
use crate::lower::target::{Batch, Target};
use crate::lower::{BufferId, LowerCx, LowerError, Operand, PartialSum, ProgramBuilder, Role};
use crate::ops::Operator;
use crate::ops::facts::exact;
use crate::plan::Ports;
use crate::schedule;
use crate::types::Type;
use std::collections::HashMap;

mod storage;

/// All launches of a program with the values that callers name.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Kernels, buffers and launches.
    pub builder: ProgramBuilder,
    /// The values that callers name.
    pub ports: Ports,
    /// A parameter and the value that it has after the run.
    pub updates: Vec<(BufferId, BufferId)>,
}

/// Lowers a graph. With `two`, there is a second list of launches for small batches, where it differs.
pub fn run(graph: &Graph, target: &Target, two: bool) -> Result<Program, LowerError> {
    let order = schedule::order(graph);
    let mut driver =
        Driver { graph, target, program: Program::default(), buffers: HashMap::new(), unnamed: HashMap::new() };
    declare(&mut driver);
    for id in order {
        if !driver.buffers.contains_key(&id) {
            driver.lower(id)?;
        }
    }
    if two {
        driver.small_batch(&schedule::order(graph))?;
    }
    for &(param, value) in &graph.updates {
        driver.program.updates.push((driver.buffers[&param], driver.buffers[&value]));
    }
    for (name, id) in &graph.outputs {
        let buffer = driver.buffers[id];
        driver.program.ports.outputs.push(port(name, graph.ty(*id), buffer.index()));
    }
    Ok(driver.program)
}

/// The name that the width of an operator's register tiles is kept under: what decides its kernels, but for the
/// machine.
fn width_key(graph: &Graph, target: &Target, id: NodeId) -> String {
    let types = graph.operands(id).iter().map(|o| graph.ty(*o).to_string()).collect::<Vec<_>>().join(" ");
    let exact = exact(graph, id).map_or(String::new(), |format| format!(" {}", format.name()));
    format!("{:?} {} {types} -> {}{exact}", target.batch, graph.op(id).name(), graph.ty(id))
}

struct Driver<'a> {
    graph: &'a Graph,
    target: &'a Target,
    program: Program,
    buffers: HashMap<NodeId, BufferId>,
    /// How many values of an operator had no name.
    unnamed: HashMap<&'static str, usize>,
}

/// Declares inputs and parameters first, weights before states, so that ports have an order that passes cannot disturb.
fn declare(driver: &mut Driver) {
    let graph = driver.graph;
    for state in [false, true] {
        for id in graph.ids() {
            let ty = graph.ty(id);
            match graph.op(id) {
                Operator::Input(input) if !state => {
                    let buffer = driver.program.builder.value(&input.name, ty, Role::Input);
                    driver.program.ports.inputs.push(input_port(input, ty, buffer.index()));
                    driver.buffers.insert(id, buffer);
                }
                Operator::Param(param) if param.state == state => {
                    let buffer = driver.program.builder.value(&param.name, ty, Role::Param);
                    driver.program.ports.params.push(port(&param.name, ty, buffer.index()));
                    driver.buffers.insert(id, buffer);
                }
                _ => {}
            }
        }
    }
}

impl Driver<'_> {
    /// Writes the launches again for small batches: to the same values, so that callers see one program.
    fn small_batch(&mut self, order: &[NodeId]) -> Result<(), LowerError> {
        let target = Target { batch: Batch::Latency, ..self.target.clone() };
        let large = std::mem::take(&mut self.program.builder.launches);
        self.program.builder.forget_packed();
        self.unnamed.clear();
        for &id in order {
            let op = self.graph.op(id);
            let fed = matches!(op, Operator::Input(_) | Operator::Param(_));
            let buffer = self.buffers[&id];
            if fed || alias(self.graph, id).is_some() || *self.role(buffer) == Role::Prepared {
                continue;
            }
            let name = self.label(id);
            self.write(&target, id, name, buffer)?;
        }
        let small = std::mem::replace(&mut self.program.builder.launches, large);
        if small != self.program.builder.launches {
            self.program.builder.small_batch = Some(small);
        }
        Ok(())
    }

    /// Writes the operator's launches for one value.
    fn write(&mut self, target: &Target, id: NodeId, name: String, buffer: BufferId) -> Result<(), LowerError> {
        let graph = self.graph;
        let operands = graph.operands(id).iter().map(|o| self.operand(*o)).collect();
        let result = Operand { buffer, ty: graph.ty(id).clone() };
        let key = target.has_widths().then(|| width_key(graph, target, id));
        let tuned = key.as_ref().and_then(|key| target.tuned(key));
        let target = tuned.as_ref().unwrap_or(target);
        let builder = &mut self.program.builder;
        let before = builder.launches.len();
        graph.op(id).lower(&mut LowerCx { target, name, operands, result, builder })?;
        let Some(key) = key else { return Ok(()) };
        let kernels = || builder.launches[before..].iter().map(|launch| &builder.module.kernels[launch.kernel]);
        let tile = |micro_kernel| {
            let name: &String = &builder.module.micro_kernels[micro_kernel].name;
            builder.origins.tiles.contains_key(name)
        };
        if kernels().any(|kernel| kernel.calls().any(tile)) {
            let names: Vec<String> = kernels().map(|kernel| kernel.name.clone()).collect();
            let own = names.into_iter().map(|name| ((target.batch, name), key.clone()));
            builder.origins.widths.extend(own);
        }
        Ok(())
    }

    fn role(&self, buffer: BufferId) -> &Role {
        &self.program.builder.buffers[buffer].role
    }

    fn lower(&mut self, id: NodeId) -> Result<(), LowerError> {
        let (graph, ty) = (self.graph, self.graph.ty(id));
        if let Some(source) = alias(graph, id) {
            self.buffers.insert(id, self.buffers[&source]);
            return Ok(());
        }
        let kept = |&o: &NodeId| matches!(self.role(self.buffers[&o]), Role::Param | Role::Prepared);
        // A constant or a form of the weights: made when weights change, not in each run.
        let prepared = !ty.batched && graph.operands(id).iter().all(kept);
        let name = self.label(id);
        let role = if prepared { Role::Prepared } else { Role::Temp };
        let bf16 = storage::as_bf16(graph, self.target, id);
        let builder = &mut self.program.builder;
        let buffer = if bf16 { builder.bf16_value(&name, ty, role) } else { builder.value(&name, ty, role) };
        builder.exact.extend(exact(graph, id).map(|format| (buffer, format)));
        self.buffers.insert(id, buffer);
        let (begin, buffers) = (self.program.builder.launches.len(), self.program.builder.buffers.len());
        self.write(self.target, id, name, buffer)?;
        let end = self.program.builder.launches.len();
        if !ty.batched && graph.operands(id).iter().any(|&o| graph.ty(o).batched) && end > begin {
            self.program.builder.partial_sums.push(PartialSum { begin, last: end - 1, buffer });
        }
        if prepared {
            let launches = self.program.builder.launches.split_off(begin);
            self.program.builder.prepare.extend(launches);
            // What such launches pass on to each other lives outside the run too.
            for buffer in self.program.builder.buffers.values_mut().skip(buffers) {
                buffer.role = Role::Prepared;
            }
        }
        Ok(())
    }

    /// Makes a name for the value's buffer and kernels. Unnamed values are counted by operator, so that the names do
    /// not depend on what passes have removed.
    fn label(&mut self, id: NodeId) -> String {
        if let Some(name) = &self.graph.node(id).name {
            return name.clone();
        }
        let kind = self.graph.op(id).name();
        let count = self.unnamed.entry(kind).or_default();
        *count += 1;
        format!("{kind}.{count}")
    }

    fn operand(&self, id: NodeId) -> Operand {
        Operand { buffer: self.buffers[&id], ty: self.graph.ty(id).clone() }
    }
}

/// Finds the operand whose buffer the value can share because it has the same elements in the same order.
fn alias(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let source = *graph.operands(id).first()?;
    let same_order = logical_in_memory(graph.ty(id)) && logical_in_memory(graph.ty(source));
    (matches!(graph.op(id), Operator::Reshape(_)) && same_order).then_some(source)
}

/// Do elements lie in memory in their logical order?
fn logical_in_memory(ty: &Type) -> bool {
    let moving: Vec<usize> = ty.memory_order().into_iter().filter(|&d| ty.dims[d] != 1).collect();
    moving.is_sorted()
}
