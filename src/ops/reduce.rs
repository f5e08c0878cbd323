//! Sums that gradients and the loss need.

use super::attr::attributes;

attributes! {
    /// `x[C, …] per image -> [C]`, over batch and positions: the gradient of a bias.
    ChannelSum {}
}
super::unfinished!(ChannelSum);

attributes! {
    /// `x[C, H, W] per image -> [C, H·W]`: the gradient of an unshared bias.
    BatchSum {}
}
super::unfinished!(BatchSum);

attributes! {
    /// `x[] per image -> []`, the mean over the whole batch.
    LossMean {}
}
super::unfinished!(LossMean);

attributes! {
    /// `shared x -> []`
    SumSquares {}
}
super::unfinished!(SumSquares);
