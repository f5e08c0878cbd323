//! Sums that gradients and the loss need.

use super::attr::attributes;
use super::{OperatorDef, check};
use crate::kernel::recipes::reduce;
use crate::kernel::site::{Lowered, Site};
use crate::types::Type;

attributes! {
    /// `x[C, …] per image -> [C]`, over batch and positions: the gradient of a bias.
    ChannelSum {}
}

impl OperatorDef for ChannelSum {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        check::sized(Type::shared(&[check::channels(x)?]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::channels(site, "sum", reduce::Mean::No, |_, v, _| v[0])
    }

    super::no_products!();
}

attributes! {
    /// `x[C, H, W] per image -> [C, H·W]`: the gradient of an unshared bias.
    BatchSum {}
}

impl OperatorDef for BatchSum {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        let [channels, height, width] = check::image(x)?;
        check::sized(Type::shared(&[channels, height * width]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::sum_batch(site)
    }

    super::no_products!();
}

attributes! {
    /// `x[] per image -> []`, the mean over the whole batch.
    LossMean {}
}

impl OperatorDef for LossMean {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        check::same(&Type::batched(&[]), x)?;
        Ok(Type::shared(&[]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::batch_mean(site)
    }

    super::no_products!();
}

attributes! {
    /// `shared x -> []`
    SumSquares {}
}

impl OperatorDef for SumSquares {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [x] = check::exactly(operands)?;
        check::shared(x, "the operand of a sum of squares")?;
        Ok(Type::shared(&[]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        reduce::sum_squares(site)
    }

    super::no_products!();
}

attributes! {
    /// `dy[] shared -> [] per image`: `dy/batch`, the gradient of [`LossMean`].
    LossMeanGrad {}
}

impl OperatorDef for LossMeanGrad {
    super::internal!();

    fn infer(&self, operands: &[Type]) -> Result<Type, String> {
        let [dy] = check::exactly(operands)?;
        check::scalar(dy, "the gradient of the loss")?;
        Ok(Type::batched(&[]))
    }

    super::rest!();
    super::same_in_training!();

    fn lower(&self, site: &mut Site) -> Lowered {
        Err(crate::kernel::site::Unsupported(site.name.clone()))
    }

    super::no_products!();
}
