//! The order in which a program computes its values: among those that continue something already computed, the one that
//! leaves the least memory in use; something new is begun only when nothing can be continued. A parameter's new value
//! waits until all other readers of the old one are done, so it can be written in place.

use crate::graph::{Graph, NodeId};
use crate::ops::facts::Memory;
use std::collections::{HashMap, HashSet};

/// Images that a batch is taken to have when values per image are weighed against shared ones.
const TYPICAL_BATCH: usize = 32;

/// Sorts all nodes, operands before users.
pub fn order(graph: &Graph) -> Vec<NodeId> {
    let before = graph.order();
    let waits = waits(graph, &before);
    let mut missing: HashMap<NodeId, usize> = HashMap::new();
    let mut wakes: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for &id in &before {
        let mut needs: Vec<NodeId> = graph.operands(id).to_vec();
        needs.extend(waits.get(&id).into_iter().flatten());
        needs.sort();
        needs.dedup();
        missing.insert(id, needs.len());
        for need in needs {
            wakes.entry(need).or_default().push(id);
        }
    }
    let mut readers: HashMap<NodeId, usize> = before.iter().map(|&id| (id, graph.users(id).len())).collect();
    // Kept in the given order, which breaks ties.
    let mut ready: Vec<NodeId> = before.iter().copied().filter(|id| missing[id] == 0).collect();
    let position: HashMap<NodeId, usize> = before.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    let mut order = Vec::with_capacity(before.len());
    let rank = |id: NodeId, readers: &HashMap<NodeId, usize>| {
        let begins = graph.operands(id).iter().all(|&o| bytes(graph, o) == 0);
        (begins, if begins { 0 } else { cost(graph, id, readers) }, position[&id])
    };
    while let Some((i, _)) = ready.iter().enumerate().min_by_key(|(_, id)| rank(**id, &readers)) {
        let id = ready.remove(i);
        order.push(id);
        for operand in distinct_operands(graph, id) {
            *readers.get_mut(&operand).expect("every node has an entry") -= 1;
        }
        for &user in wakes.get(&id).into_iter().flatten() {
            let left = missing.get_mut(&user).expect("every node has an entry");
            *left -= 1;
            if *left == 0 {
                ready.push(user);
            }
        }
    }
    assert_eq!(order.len(), before.len(), "the waits of updates made a cycle");
    order
}

fn distinct_operands(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    let mut operands = graph.operands(id).to_vec();
    operands.sort();
    operands.dedup();
    operands
}

/// Bytes that computing `id` takes, less those of the operands that it is the last to read.
fn cost(graph: &Graph, id: NodeId, readers: &HashMap<NodeId, usize>) -> i64 {
    let is_last = |operand: &NodeId| readers[operand] == 1 && !graph.is_result(*operand);
    let freed: i64 = distinct_operands(graph, id).iter().filter(|o| is_last(o)).map(|&o| bytes(graph, o)).sum();
    let made = if graph.updates.iter().any(|(_, value)| *value == id) { 0 } else { bytes(graph, id) };
    made - freed
}

fn bytes(graph: &Graph, id: NodeId) -> i64 {
    let ty = graph.ty(id);
    match graph.op(id).memory() {
        Memory::Own => 0,
        Memory::Arena => (4 * ty.elements() * if ty.batched { TYPICAL_BATCH } else { 1 }) as i64,
    }
}

/// For the new value of each parameter: the other readers of the old value, unless they need the new one themselves.
fn waits(graph: &Graph, order: &[NodeId]) -> HashMap<NodeId, Vec<NodeId>> {
    let mut waits: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for &(param, value) in &graph.updates {
        let after = dependents(graph, order, value, &waits);
        let readers = graph.users(param).into_iter().filter(|u| !after.contains(u));
        waits.entry(value).or_default().extend(readers);
    }
    waits
}

/// All that is computed after `value`, itself included, given the waits so far.
fn dependents(graph: &Graph, order: &[NodeId], value: NodeId, waits: &HashMap<NodeId, Vec<NodeId>>) -> HashSet<NodeId> {
    let mut found = HashSet::from([value]);
    loop {
        let before = found.len();
        for &id in order {
            let needs = graph.operands(id).iter().chain(waits.get(&id).into_iter().flatten());
            if needs.into_iter().any(|need| found.contains(need)) {
                found.insert(id);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}
