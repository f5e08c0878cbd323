//! Stochastic pooling (Zeiler & Fergus, 2013).

use super::attr::attributes;

attributes! {
    /// Inference: `Σa²/Σa` over the window, `a = max(x, 0)`.
    StochasticPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
        stream: u32,
    }
}
super::unfinished!(StochasticPool);

attributes! {
    /// `(x, dy) -> dx`
    StochasticPoolGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
    }
}
super::unfinished!(StochasticPoolGrad);

attributes! {
    /// `(x, key) -> y`, see `kernel::recipes::pool`.
    StochasticPoolTrain {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        ceil: bool,
        stream: u32,
    }
}
super::unfinished!(StochasticPoolTrain);

attributes! {
    /// `(x, dy, key) -> dx`
    StochasticPoolTrainGrad {
        kernel: [usize; 2],
        stride: [usize; 2],
        pad: [usize; 2],
        stream: u32,
    }
}
super::unfinished!(StochasticPoolTrainGrad);
