//! Constants that depend on the number of images, where a file leaves that open: each number of a constant has a mark,
//! which follows it through what only moves numbers about. What keeps the batch may use the number itself; for all else
//! there is none.

use super::super::fold;
use super::super::read::{Const, Data, Node};
use super::view::View;
use super::{Map, Mapped, OPEN_BATCH, Value};
use std::rc::Rc;

/// The mark of a number that does not depend on the number of images.
const FREE: i64 = 0;
/// The mark of a number that is the number of images.
const BATCH: i64 = 1;
/// The mark of a number that depends on it otherwise.
const OTHER: i64 = 2;

/// Why a node is refused that needs the number of images.
pub(super) const DEPENDS: &str = "its result depends on the number of images, which the file leaves open";

impl<'n> Map<'n> {
    /// Marks a constant that states sizes of a view: the first `sizes` of them from the axis `start` on.
    pub(super) fn mark_sizes(&mut self, node: &'n Node, x: &View, start: usize, sizes: usize) {
        if x.batch() == OPEN_BATCH && start == 0 && sizes > 0 {
            let mut marks = vec![FREE; sizes];
            marks[0] = BATCH;
            self.mark(node, 0, Const::ints(&[sizes], marks));
        }
    }

    /// Marks the number of elements of a view.
    pub(super) fn mark_count(&mut self, node: &'n Node, x: &View) {
        if x.batch() == OPEN_BATCH {
            self.mark(node, 0, Const::ints(&[], vec![OTHER]));
        }
    }

    fn mark(&mut self, node: &'n Node, result: usize, marks: Const) {
        if let Some(name) = node.outputs.get(result)
            && marks.as_ints().is_some_and(|marks| marks.iter().any(|&mark| mark != FREE))
        {
            self.marks.insert(name, Rc::new(marks));
        }
    }

    /// Does a constant depend on the number of images?
    pub(super) fn dependent(&self, name: &str) -> bool {
        self.marks.contains_key(name)
    }

    /// Says why a constant cannot be the result of a network.
    pub(super) fn constant_result(&self, name: &str) -> String {
        if self.dependent(name) { DEPENDS.into() } else { "it is the same for every input".into() }
    }

    /// Refuses a node on values of the network with an operand that depends on the number of images, but for target
    /// shapes that begin with it.
    pub(super) fn refuse_dependent(&self, node: &Node) -> Mapped<()> {
        let mut values = node.inputs.iter().filter_map(|name| self.values.get(name.as_str()));
        if !values.any(|value| matches!(value, Value::View(_))) {
            return Ok(());
        }
        for (i, name) in node.inputs.iter().enumerate() {
            let Some(marks) = self.marks.get(name.as_str()) else { continue };
            let target = match node.op.as_str() {
                "Reshape" | "Expand" => i == 1,
                "Resize" => i == 3 && node.ints("axes").is_none(),
                _ => false,
            };
            let marks = marks.as_ints().unwrap_or_default();
            let kept = target && marks.iter().enumerate().all(|(i, &mark)| mark == FREE || (i == 0 && mark == BATCH));
            if !kept {
                return Err(DEPENDS.into());
            }
        }
        Ok(())
    }

    /// Computes a node on constants, and what of its results depends on the number of images.
    pub(super) fn folded(&mut self, node: &'n Node, operands: &[Option<Rc<Const>>]) -> Mapped<Vec<Const>> {
        let marks: Vec<Option<Rc<Const>>> =
            node.inputs.iter().map(|name| self.marks.get(name.as_str()).cloned()).collect();
        if marks.iter().all(Option::is_none) || matches!(node.op.as_str(), "Shape" | "Size") {
            return Ok(fold::node(node, operands)?);
        }
        let shaped = ["Range", "ConstantOfShape", "Expand", "Tile"].contains(&node.op.as_str());
        if shaped || (moves(node) && marks.iter().skip(1).any(Option::is_some)) {
            return Err(DEPENDS.into());
        }
        let made = fold::node(node, operands)?;
        for (i, made) in made.iter().enumerate() {
            let mut marks = self.marks_of(node, i, operands, &marks);
            if marks.dims != made.dims {
                marks = Const::ints(&made.dims, vec![OTHER; made.len()]);
            }
            let numbers = made.as_floats();
            if let Data::Int(marks) = &mut marks.data {
                let changed = |i: usize| numbers[i] != OPEN_BATCH as f32;
                marks.iter_mut().enumerate().filter(|(i, m)| **m == BATCH && changed(*i)).for_each(|(_, m)| *m = OTHER);
            }
            self.mark(node, i, marks);
        }
        Ok(made)
    }

    /// Returns the marks of a result by its operands'; of another shape where they do not follow single numbers.
    fn marks_of(
        &self,
        node: &Node,
        result: usize,
        operands: &[Option<Rc<Const>>],
        marks: &[Option<Rc<Const>>],
    ) -> Const {
        let unmarked = |c: &Const| Const::ints(&c.dims, vec![FREE; c.len()]);
        let all = marks.iter().zip(operands).map(|(marks, c)| {
            let own = marks.clone();
            own.or_else(|| c.as_ref().map(|c| Rc::new(unmarked(c))))
        });
        let mut all: Vec<Option<Rc<Const>>> = all.collect();
        let unknown = Const::ints(&[0], vec![]);
        let run = |op: &str, operands: &[Option<Rc<Const>>]| {
            let mut other = node.clone();
            other.op = op.into();
            let made = fold::node(&other, operands);
            made.ok().and_then(|made| made.into_iter().nth(result)).unwrap_or_else(|| unknown.clone())
        };
        match node.op.as_str() {
            "Concat" => run("Concat", &all),
            _ if moves(node) => {
                all.splice(1.., operands.iter().skip(1).cloned());
                let op = if node.op.starts_with("Cast") { "Identity" } else { &node.op };
                run(op, &all)
            }
            "QuantizeLinear" | "DequantizeLinear" => unknown.clone(),
            op if op.starts_with("Reduce") => unknown.clone(),
            _ => {
                let mut made = run("Max", &all);
                if let Data::Int(marks) = &mut made.data {
                    marks.iter_mut().filter(|mark| **mark != FREE).for_each(|mark| *mark = OTHER);
                }
                made
            }
        }
    }
}

/// Does the node only move the numbers of its first operand about?
fn moves(node: &Node) -> bool {
    let names = ["Identity", "Dropout", "Cast", "CastLike", "Split", "Reshape", "Flatten", "Squeeze", "Unsqueeze"];
    names.contains(&node.op.as_str()) || ["Transpose", "Gather", "Slice"].contains(&node.op.as_str())
}

/// Shows sizes with `N` for a number of images that is open.
pub fn shown(sizes: impl IntoIterator<Item = i64>) -> String {
    let one = |size: i64| match (size / OPEN_BATCH as i64, size % OPEN_BATCH as i64) {
        (1, 0) => "N".into(),
        (times, 0) if times > 1 => format!("{times}*N"),
        _ => size.to_string(),
    };
    format!("[{}]", sizes.into_iter().map(one).collect::<Vec<_>>().join(", "))
}
