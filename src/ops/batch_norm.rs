//! Batch normalisation (Ioffe & Szegedy, 2015).

use super::attr::attributes;

attributes! {
    /// `(x, gamma[C], beta[C], mean[C], variance[C]) -> gamma·(x - mean)/sqrt(variance + epsilon) + beta`. At inference with the running
    /// statistics (`Param`s), in training with those of the batch. `momentum`: weight of the batch in the running statistics.
    BatchNorm {
        epsilon: f64,
        momentum: f64,
    }
}
super::unfinished!(BatchNorm);

attributes! {
    /// `x -> [C]` over batch and positions.
    BatchMean {}
}
super::unfinished!(BatchMean);

attributes! {
    /// `(x, mean) -> [C]`, biased.
    BatchVariance {}
}
super::unfinished!(BatchVariance);

attributes! {
    /// `(x, mean, variance, dy) -> dgamma[C]`
    BatchNormGradGamma {
        epsilon: f64,
    }
}
super::unfinished!(BatchNormGradGamma);

attributes! {
    /// `(x, gamma, mean, variance, dy, dgamma, dbeta) -> dx`, through the batch's statistics.
    BatchNormGradInput {
        epsilon: f64,
    }
}
super::unfinished!(BatchNormGradInput);
