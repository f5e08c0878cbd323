//! What ranks tell each other after a step: results of their images, and what each has to say.

use super::ports::Call;
use crate::Result;
use crate::ranks::Ranks;
use crate::shares::{self, images_of, of_rank};

/// Gets the other ranks' results for their images of a batch, and the flags that they raise.
pub(crate) fn gather(ranks: &Ranks, call: &mut Call, batch: usize) -> Result<()> {
    let images = |rank: usize| images_of(of_rank(shares::count(batch), rank, ranks.count()), batch);
    let flags = ranks.take_raised();
    let mut own = flags.to_ne_bytes().to_vec();
    for (_, values) in call.results(images(ranks.rank())).filter(|(port, _)| port.batched) {
        own.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
    }
    let each: usize = call.results(0..1).filter(|(port, _)| port.batched).map(|(_, values)| 4 * values.len()).sum();
    let counts = (0..ranks.count()).map(|rank| 4 + each * images(rank).len()).collect();
    let all = ranks.gather(own, counts).wait()?;
    let mut numbers = all.as_chunks::<4>().0.iter();
    let mut heard = 0;
    for rank in 0..ranks.count() {
        heard |= numbers.next().map_or(0, |flags| u32::from_ne_bytes(*flags));
        for (_, values) in call.results(images(rank)).filter(|(port, _)| port.batched) {
            values.iter_mut().zip(&mut numbers).for_each(|(value, bytes)| *value = f32::from_ne_bytes(*bytes));
        }
    }
    ranks.hear(heard);
    Ok(())
}
