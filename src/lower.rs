//! From graph to kernels: walks the graph in the order of its schedule, gives each value a buffer and lets each operator
//! write its launches into one draft.

use crate::graph::engine::port;
use crate::graph::{Graph, NodeId};
use crate::kernel::site::{Draft, Operand, Role, Site, Slot, Unsupported};
use crate::kernel::target::Target;
use crate::ops::Operator;
use crate::ops::arithmetic::Scale;
use crate::schedule;
use crate::types::Type;
use ninc_runtime::plan::Port;
use std::collections::HashMap;

/// All launches of a program with the values that callers name. A port's `buffer` is the index of a draft's buffer.
#[derive(Clone, Debug, Default)]
pub struct Program {
    pub draft: Draft,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    pub params: Vec<Port>,
}

pub fn run(graph: &Graph, target: &Target) -> Result<Program, Unsupported> {
    let order = schedule::order(graph);
    let in_place = in_place(graph, &order);
    let mut driver = Driver { graph, target, program: Program::default(), slots: HashMap::new() };
    declare(&mut driver);
    for id in order {
        if !driver.slots.contains_key(&id) {
            driver.lower(id, in_place.get(&id).copied())?;
        }
    }
    driver.write_back()?;
    for (name, id) in &graph.outputs {
        let slot = driver.slots[id];
        driver.program.outputs.push(port(name, graph.ty(*id), slot.0 as usize));
    }
    Ok(driver.program)
}

struct Driver<'a> {
    graph: &'a Graph,
    target: &'a Target,
    program: Program,
    slots: HashMap<NodeId, Slot>,
}

/// Inputs and parameters first, weights before states, so that ports have an order that passes cannot disturb.
fn declare(driver: &mut Driver) {
    let graph = driver.graph;
    for state in [false, true] {
        for id in graph.ids() {
            let ty = graph.ty(id);
            match graph.op(id) {
                Operator::Input(input) if !state => {
                    let slot = driver.program.draft.value(&input.name, ty, Role::Input);
                    driver.program.inputs.push(port(&input.name, ty, slot.0 as usize));
                    driver.slots.insert(id, slot);
                }
                Operator::Param(param) if param.state == state => {
                    let slot = driver.program.draft.value(&param.name, ty, Role::Param);
                    driver.program.params.push(port(&param.name, ty, slot.0 as usize));
                    driver.slots.insert(id, slot);
                }
                _ => {}
            }
        }
    }
}

impl Driver<'_> {
    fn role(&self, slot: Slot) -> &Role {
        &self.program.draft.buffers[slot.0 as usize].role
    }

    /// Lowers one value; `param` is the parameter whose place it may take.
    fn lower(&mut self, id: NodeId, param: Option<NodeId>) -> Result<(), Unsupported> {
        let (graph, ty) = (self.graph, self.graph.ty(id));
        if let Some(source) = alias(graph, id) {
            self.slots.insert(id, self.slots[&source]);
            return Ok(());
        }
        let kept = |&o: &NodeId| matches!(self.role(self.slots[&o]), Role::Param | Role::Prepared);
        // A constant or a form of the weights: made when weights change, not in each run.
        let prepared = param.is_none() && !ty.batched && graph.operands(id).iter().all(kept);
        let name = label(graph, id);
        let slot = match param {
            Some(param) => self.slots[&param],
            None => {
                let role = if prepared { Role::Prepared } else { Role::Temp };
                self.program.draft.value(&name, ty, role)
            }
        };
        self.slots.insert(id, slot);
        let operands = graph.operands(id).iter().map(|o| self.operand(*o)).collect();
        let begin = self.program.draft.launches.len();
        self.site(graph.op(id), name, operands, Operand { slot, ty: ty.clone() })?;
        if prepared {
            let launches = self.program.draft.launches.split_off(begin);
            self.program.draft.prepare.extend(launches);
        }
        Ok(())
    }

    fn operand(&self, id: NodeId) -> Operand {
        Operand { slot: self.slots[&id], ty: self.graph.ty(id).clone() }
    }

    fn site(&mut self, op: &Operator, name: String, operands: Vec<Operand>, result: Operand) -> Result<(), Unsupported> {
        let draft = &mut self.program.draft;
        op.lower(&mut Site { target: self.target, name, operands, result, draft })
    }

    /// Copies the new values that could not be written in place, after everything else.
    fn write_back(&mut self) -> Result<(), Unsupported> {
        for &(param, value) in &self.graph.updates {
            let (to, from) = (self.operand(param), self.operand(value));
            if to.slot != from.slot {
                let name = format!("{}.write", label(self.graph, param));
                self.site(&Scale { factor: 1.0 }.into(), name, vec![from], to)?;
            }
        }
        Ok(())
    }
}

/// The operand whose buffer the value can share because it has the same elements in the same order.
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

/// New values of parameters that may be written over the old ones: made elementwise from it, after its last reader.
fn in_place(graph: &Graph, order: &[NodeId]) -> HashMap<NodeId, NodeId> {
    let position: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let mut places = HashMap::new();
    for &(param, value) in &graph.updates {
        let elementwise = |id: NodeId| matches!(graph.op(id), Operator::Update(_) | Operator::Mix(_));
        let last = graph.users(param).iter().all(|u| position[u] <= position[&value]);
        let once = graph.updates.iter().filter(|(_, v)| *v == value).count() == 1;
        let output = graph.outputs.iter().any(|(_, id)| *id == param || *id == value);
        // Readers of the new value must not take it for the old one, of which other forms may have been prepared.
        let readers = graph.users(value).iter().all(|&u| elementwise(u) || matches!(graph.op(u), Operator::MaxNorm(_)));
        if elementwise(value) && graph.operands(value).contains(&param) && last && once && !output && readers {
            places.insert(value, param);
        }
    }
    places
}

/// A name for the value's buffer and kernels.
fn label(graph: &Graph, id: NodeId) -> String {
    match (&graph.node(id).name, graph.op(id)) {
        (_, Operator::Input(input)) => input.name.clone(),
        (_, Operator::Param(param)) => param.name.clone(),
        (Some(name), _) => name.clone(),
        (None, op) => format!("{}_{}", op.name(), id.index()),
    }
}
