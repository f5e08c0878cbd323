//! What a product prefetches for those behind it.

use super::Contraction;
use crate::kernel::build::MicroKernelBuilder;
use crate::kernel::ir::{Expr, Param};

impl Contraction {
    /// Lets each of `calls` products with the same B prefetch a part of the next B, which is as long; returns where the
    /// part of product `number` begins in it.
    pub fn share_next(&mut self, calls: usize, number: &Expr) -> Expr {
        let unroll = self.unroll();
        self.next = unroll.div_ceil(calls);
        // Calls that come when all parts are fetched share one part behind them.
        number.min(unroll) * (self.steps() / unroll * self.next * self.b[2] as usize)
    }

    /// Prefetches what the next rows of results are added to or masked by: it is read at the end of a product, too late
    /// for the processor to wait for it beside the sums.
    pub(super) fn foresee(&self, b: &mut MicroKernelBuilder, memory: Param) {
        for m in self.rows..2 * self.rows {
            for v in 0..self.vectors() {
                b.prefetch(memory, m as i64 * self.c_row + v as i64 * self.c_vector);
            }
        }
    }
}
