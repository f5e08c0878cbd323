//! Conditions that are known when a network is read: the branch that is taken stands for the node.

use super::super::read::Node;
use super::images::DEPENDS;
use super::{Map, Mapped, Value};
use crate::io::error::Reason;

impl<'n> Map<'n> {
    /// Is the node part of a branch that is not taken, or not known to be?
    pub(super) fn left_out(&self, node: &Node) -> bool {
        node.when.iter().any(|(condition, taken)| self.holds(condition) != Some(*taken))
    }

    /// Returns what a constant condition says.
    fn holds(&self, condition: &str) -> Option<bool> {
        match self.values.get(condition) {
            Some(Value::Const(c)) if !self.dependent(condition) => c.scalar().map(|v| v != 0.0),
            _ => None,
        }
    }

    /// Returns the results of the branch that an `If` takes, by name.
    pub(super) fn taken_branch(&self, node: &'n Node) -> Option<impl Iterator<Item = &'n str> + use<'n>> {
        let before = if self.holds(node.inputs.first()?)? { 1 } else { 1 + node.outputs.len() };
        Some(node.inputs.iter().skip(before).take(node.outputs.len()).map(String::as_str))
    }

    /// Translates an `If`.
    pub(super) fn condition(&mut self, node: &'n Node) -> Mapped<Vec<Value>> {
        let Some(names) = self.taken_branch(node) else {
            return Err(match node.inputs.first().map(|name| (name, self.values.get(name.as_str()))) {
                Some((_, Some(Value::Failed))) => Reason::Upstream,
                Some((name, _)) if self.dependent(name) => DEPENDS.into(),
                Some((_, Some(Value::Const(_)))) => "its condition is not one number".into(),
                _ => "it chooses by what is computed of each image".into(),
            });
        };
        let mut made = Vec::new();
        for (name, output) in names.zip(&node.outputs) {
            match self.values.get(name) {
                Some(Value::Failed) => return Err(Reason::Upstream),
                Some(value) => made.push(value.clone()),
                None => return Err(format!("nothing makes `{name}`").into()),
            }
            self.bytes.carry(name, output);
            if let Some(marks) = self.marks.get(name).cloned() {
                self.marks.insert(output, marks);
            }
        }
        Ok(made)
    }
}
