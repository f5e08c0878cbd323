//! The graph: one node per value, an operator and an ordered list of operands. The only file that names petgraph.

use crate::ops::Operator;
use crate::ops::error::ShapeError;
use crate::ops::source::Param;
use crate::types::Type;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use std::collections::HashSet;

/// A value, by the node that makes it. Stable while other nodes come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NodeIndex<u32>);

impl NodeId {
    /// Returns the node's number, which it keeps while others are removed.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// A value of the graph: an operator on operands.
#[derive(Clone, Debug)]
pub struct Node {
    /// What computes it.
    pub op: Operator,
    /// Its type, for one image.
    pub ty: Type,
    /// The user's name for the value (`block1`), or one made for it.
    pub name: Option<String>,
    operands: Vec<NodeId>,
}

impl Node {
    /// Returns the operands in their order.
    pub fn operands(&self) -> &[NodeId] {
        &self.operands
    }
}

/// A directed acyclic graph of values.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The network's name.
    pub name: String,
    /// Edges run from an operand to its user.
    nodes: StableDiGraph<Node, ()>,
    /// What the program gives back, by name.
    pub outputs: Vec<(String, NodeId)>,
    /// `(parameter, its new value)`: written back at the end of a training step.
    pub updates: Vec<(NodeId, NodeId)>,
}

impl Graph {
    /// Makes a graph without nodes.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Adds a node; its type comes from the operator.
    pub fn add(&mut self, op: impl Into<Operator>, operands: &[NodeId]) -> Result<NodeId, ShapeError> {
        let op = op.into();
        let types: Vec<Type> = operands.iter().map(|&o| self.ty(o).clone()).collect();
        let ty = op.infer(&types)?;
        let id = NodeId(self.nodes.add_node(Node { op, ty, name: None, operands: operands.to_vec() }));
        for operand in operands {
            self.nodes.add_edge(operand.0, id.0, ());
        }
        Ok(id)
    }

    /// Returns a node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// Is the node still there?
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_node(id.0)
    }

    /// Returns a node's operator.
    pub fn op(&self, id: NodeId) -> &Operator {
        &self.node(id).op
    }

    /// Returns the type of a node's value.
    pub fn ty(&self, id: NodeId) -> &Type {
        &self.node(id).ty
    }

    /// Returns a node's operands in their order.
    pub fn operands(&self, id: NodeId) -> &[NodeId] {
        &self.node(id).operands
    }

    /// Gives a node a name.
    pub fn set_name(&mut self, id: NodeId, name: impl Into<String>) {
        self.nodes[id.0].name = Some(name.into());
    }

    /// Returns the number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Is it without nodes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All nodes in the order of their creation.
    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.node_indices().map(NodeId).collect()
    }

    /// Finds the value of this name.
    pub fn named(&self, name: &str) -> Option<NodeId> {
        self.ids().into_iter().find(|&id| self.node(id).name.as_deref() == Some(name))
    }

    /// Users of a value, each once, in order of creation.
    pub fn users(&self, id: NodeId) -> Vec<NodeId> {
        let mut users: Vec<NodeId> =
            self.nodes.edges_directed(id.0, Direction::Outgoing).map(|e| NodeId(e.target())).collect();
        users.sort();
        users.dedup();
        users
    }

    /// Is the value an output, or the new value of a parameter?
    pub fn is_result(&self, id: NodeId) -> bool {
        self.outputs.iter().any(|(_, o)| *o == id) || self.updates.iter().any(|(p, v)| *p == id || *v == id)
    }

    /// Operands before users; among the ready, older nodes first, so that the order is the same every time.
    pub fn order(&self) -> Vec<NodeId> {
        let mut order = Vec::with_capacity(self.len());
        let mut done = HashSet::new();
        for start in self.ids() {
            let mut stack = vec![(start, 0)];
            while let Some((id, next)) = stack.pop() {
                if next == 0 && done.contains(&id) {
                    continue;
                }
                match self.operands(id).get(next) {
                    Some(&operand) => {
                        stack.push((id, next + 1));
                        if !done.contains(&operand) {
                            stack.push((operand, 0));
                        }
                    }
                    None => {
                        if done.insert(id) {
                            order.push(id);
                        }
                    }
                }
            }
        }
        order
    }

    /// Makes every user of `old` (outputs and new values included) use `new` instead. Types must be equal.
    /// A name moves along if `new` has none.
    pub fn replace(&mut self, old: NodeId, new: NodeId) {
        self.replace_in(old, new, &self.users(old));
        for (_, output) in &mut self.outputs {
            if *output == old {
                *output = new;
            }
        }
        for (_, value) in &mut self.updates {
            if *value == old {
                *value = new;
            }
        }
        if self.node(new).name.is_none() {
            self.nodes[new.0].name = self.nodes[old.0].name.take();
        }
    }

    /// Makes just `users` of `old` use `new`.
    pub fn replace_in(&mut self, old: NodeId, new: NodeId, users: &[NodeId]) {
        assert_eq!(self.ty(old), self.ty(new), "replacing a value by one of another type");
        for &user in users {
            if user == new {
                continue;
            }
            for i in 0..self.operands(user).len() {
                if self.operands(user)[i] == old {
                    self.nodes[user.0].operands[i] = new;
                    if let Some(edge) = self.nodes.find_edge(old.0, user.0) {
                        self.nodes.remove_edge(edge);
                    }
                    self.nodes.add_edge(new.0, user.0, ());
                }
            }
        }
    }

    /// A parameter's settings. Its shape is the node's type and must stay.
    pub fn param_mut(&mut self, id: NodeId) -> Option<&mut Param> {
        match &mut self.nodes[id.0].op {
            Operator::Param(param) => Some(param),
            _ => None,
        }
    }

    /// Removes a node that nobody uses.
    pub fn remove(&mut self, id: NodeId) {
        assert!(self.users(id).is_empty(), "removing a value in use");
        self.nodes.remove_node(id.0);
    }
}
