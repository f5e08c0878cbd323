//! DropConnect (Wan et al., 2013): a linear layer whose weights and biases are dropped anew for each image.

use super::attr::attributes;

attributes! {
    /// Inference, the mean over all masks: `(x[F], w[O, F], b[O]) -> (1 - rate)·(w·x + b)`
    DropConnect {
        rate: f64,
        stream: u32,
    }
}
super::unfinished!(DropConnect);

attributes! {
    /// `(x, w, b, key) -> y`; the numbering of random elements is in `kernel::recipes::drop_connect`.
    DropConnectTrain {
        rate: f64,
        stream: u32,
    }
}
super::unfinished!(DropConnectTrain);

attributes! {
    /// `(w, dy, key) -> dx`
    DropConnectGradInput {
        rate: f64,
        stream: u32,
    }
}
super::unfinished!(DropConnectGradInput);

attributes! {
    /// `(x, dy, key) -> dw`
    DropConnectGradWeight {
        rate: f64,
        stream: u32,
    }
}
super::unfinished!(DropConnectGradWeight);

attributes! {
    /// `(dy, key) -> db`
    DropConnectGradBias {
        rate: f64,
        stream: u32,
        /// F
        inputs: usize,
    }
}
super::unfinished!(DropConnectGradBias);
