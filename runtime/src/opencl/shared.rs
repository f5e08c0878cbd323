//! A training step in shares of the batch, on devices of one process or of several: each share has a program of its
//! own, with a copy of the parameters, on one of the devices. What the shares give of each sum is added up by the tree
//! of `shares`, so that the bits are those of any number of processes with the same kind of device.

use super::OpenCl;
use super::device_program::DeviceProgram;
use crate::Result;
use crate::ranks::{Ranks, merge};
use crate::shares::{self, Node, Waiting, images_of, of_rank};
use std::ops::Range;
use std::sync::Arc;

/// The processes that share each batch; one alone has all shares.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing(pub Option<Arc<Ranks>>);

impl Sharing {
    /// The shares of this process.
    fn own(&self, batch: usize) -> Range<usize> {
        let (rank, ranks) = self.0.as_ref().map_or((0, 1), |ranks| (ranks.rank(), ranks.count()));
        of_rank(shares::count(batch), rank, ranks)
    }
}

impl OpenCl {
    /// Lets each training step go in shares of the batch, over all ranks if there are some. The plan must say which of
    /// its values are sums over the images.
    pub fn in_shares(&mut self, ranks: Option<Arc<Ranks>>) {
        self.sharing = Some(Sharing(ranks));
    }

    /// The images of each program, which is made where there are more shares than before; none for those beyond the
    /// last share.
    pub(super) fn shares_of(&mut self, sharing: &Sharing, batch: usize) -> Result<Vec<Range<usize>>> {
        let own = sharing.own(batch);
        let before = self.programs.len();
        for i in before..own.len() {
            let device = self.devices[i % self.devices.len()].clone();
            self.programs.push(DeviceProgram::new(self.plan.clone(), self.source.clone(), device)?);
        }
        if self.programs.len() > before {
            self.spread()?;
        }
        let end = images_of(own.clone(), batch).end;
        let mut parts: Vec<_> = own.map(|share| images_of(share..share + 1, batch)).collect();
        parts.resize(self.programs.len(), end..end);
        Ok(parts)
    }

    /// Adds up what the shares of all processes have of these sums, and gives them to all programs.
    pub(super) fn add_up_shares(
        &mut self,
        sharing: &Sharing,
        sums: Vec<usize>,
        parts: &[Range<usize>],
        batch: usize,
    ) -> Result<()> {
        if sums.is_empty() {
            return Ok(());
        }
        let mut waiting = Waiting::default();
        let mut values: Vec<Vec<u8>> = Vec::new();
        for (number, (program, part)) in sharing.own(batch).zip(self.programs.iter().zip(parts)) {
            let mut value = Vec::new();
            for &sum in &sums {
                value.extend(program.fetch(sum, part.len())?);
            }
            values.push(value);
            merge(&mut values, waiting.push(Node { level: 0, number }));
        }
        let all = match &sharing.0 {
            Some(ranks) => {
                let length = sums.iter().map(|sum| self.plan.bytes(*sum, 0)).sum();
                let nodes: Vec<Vec<&[u8]>> = values.iter().map(|value| vec![&value[..]]).collect();
                ranks.sum(&nodes, length, shares::count(batch)).wait()?
            }
            None => {
                merge(&mut values, waiting.end());
                values.pop().unwrap_or_default()
            }
        };
        let mut rest = &all[..];
        for sum in sums {
            let (value, others) = rest.split_at(self.plan.bytes(sum, 0));
            for (program, part) in self.programs.iter_mut().zip(parts) {
                program.send(sum, part.len(), value.to_vec())?;
            }
            rest = others;
        }
        if let Some(ranks) = &sharing.0 {
            ranks.done(all);
        }
        Ok(())
    }
}
