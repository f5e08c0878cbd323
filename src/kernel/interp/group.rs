//! GPU kernels: the items of a group run one after the other from barrier to barrier, the last one first, so that an
//! item that relies on another one without a barrier between them sees garbage.

use super::{Bound, InterpError, Nest};
use crate::kernel::ir::{Groups, KVar, KVars, Kernel, Module, Space, Stmt, statements};

/// Runs one group of a kernel.
pub(super) fn run(
    module: &Module,
    kernel: &Kernel,
    loops: &Groups,
    memory: &mut Bound,
    vars: [i64; 3],
    group: i64,
) -> Result<(), InterpError> {
    let mut start = kernel.start(vars);
    start[loops.group] = group;
    let items = (0..loops.items).map(|i| {
        let mut vars = start.clone();
        vars[loops.item] = i;
        // What is shared has no bytes here.
        let own = kernel.scratch.values().map(|s| match s.space {
            Space::Local => vec![],
            Space::Cache | Space::Private => vec![0xff; s.len * s.elem.bytes()],
        });
        Item { vars, own: own.collect() }
    });
    let items = items.collect();
    Group { module, kernel, memory, items }.block(loops.body)
}

struct Item {
    vars: KVars,
    own: Vec<Vec<u8>>,
}

struct Group<'a, 'b> {
    module: &'a Module,
    kernel: &'a Kernel,
    memory: &'a mut Bound<'b>,
    items: Vec<Item>,
}

impl Group<'_, '_> {
    fn block(&mut self, body: &[Stmt]) -> Result<(), InterpError> {
        let mut done = 0;
        for (i, stmt) in body.iter().enumerate() {
            if !waits(stmt) {
                continue;
            }
            self.each(&body[done..i])?;
            done = i + 1;
            if let Stmt::For { var, begin, end, body, .. } = stmt {
                // The bounds are the same for all items.
                let range = begin.eval(&self.items[0].vars)..end.eval(&self.items[0].vars);
                for value in range {
                    self.set(*var, value);
                    self.block(body)?;
                }
            }
        }
        self.each(&body[done..])
    }

    fn set(&mut self, var: KVar, value: i64) {
        self.items.iter_mut().for_each(|item| item.vars[var] = value);
    }

    /// Runs statements without barriers for all items.
    fn each(&mut self, body: &[Stmt]) -> Result<(), InterpError> {
        if body.is_empty() {
            return Ok(());
        }
        for i in (0..self.items.len()).rev() {
            self.exchange(i);
            let vars = std::mem::take(&mut self.items[i].vars);
            let mut nest = Nest { module: self.module, kernel: self.kernel, vars, memory: &mut *self.memory };
            let done = nest.block(body);
            self.items[i].vars = nest.vars;
            self.exchange(i);
            done?;
        }
        Ok(())
    }

    /// Brings an item's own arrays into the memory, or takes them out again.
    fn exchange(&mut self, item: usize) {
        for (i, s) in self.kernel.scratch.values().enumerate() {
            if s.space != Space::Local {
                std::mem::swap(&mut self.memory.scratch[i], &mut self.items[item].own[i]);
            }
        }
    }
}

/// Does a statement hold a barrier?
fn waits(stmt: &Stmt) -> bool {
    statements(std::slice::from_ref(stmt)).any(|s| *s == Stmt::Barrier)
}
