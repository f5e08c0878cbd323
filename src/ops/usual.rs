//! Duties as most operators fulfil them, by name: a duty that is neither written nor named here does not compile.

/// Duty `schemas` of operators that the language does not name.
macro_rules! internal {
    () => {
        fn schemas() -> Vec<crate::ops::schema::Schema> {
            vec![]
        }
    };
}
pub(crate) use internal;

/// Duty `training` of operators that training leaves as they are.
macro_rules! same_in_training {
    () => {
        fn training(
            &self,
            _cx: &mut crate::ops::TrainCx,
        ) -> Result<Option<crate::graph::NodeId>, crate::ops::error::TrainingError> {
            Ok(None)
        }
    };
}
pub(crate) use same_in_training;

/// Duty `derivative` of operators with a gradient, `except` with respect to these operands.
macro_rules! differentiable {
    ($(except $($operand:literal),+)?) => {
        fn derivative(&self) -> crate::ops::facts::Derivative {
            crate::ops::facts::Derivative::Except(&[$($($operand),+)?])
        }
    };
}
pub(crate) use differentiable;

/// Duty `derivative` of operators without a gradient.
macro_rules! no_derivative {
    () => {
        fn derivative(&self) -> crate::ops::facts::Derivative {
            crate::ops::facts::Derivative::None
        }
    };
}
pub(crate) use no_derivative;

/// Duties `gradient` and `derivative` of operators that only gradients and updates are made of.
macro_rules! first_order_only {
    () => {
        crate::ops::no_derivative!();

        fn gradient(
            &self,
            cx: &mut crate::ops::GradCx,
        ) -> Result<Vec<Option<crate::graph::NodeId>>, crate::ops::error::TrainingError> {
            let name = cx.graph.op(cx.result).name();
            let what = format!("`{name}` has no derivative: only first derivatives are built");
            Err(crate::ops::error::TrainingError::NoDerivative(what))
        }
    };
}
pub(crate) use first_order_only;

/// Duties `multiply_adds` and `factors` of operators without sums of products.
macro_rules! no_products {
    () => {
        crate::ops::usual!(factors);

        fn multiply_adds(&self, _operands: &[crate::types::Type], _result: &crate::types::Type) -> u64 {
            0
        }
    };
}
pub(crate) use no_products;

/// The duties listed, as most operators have them: float32 numbers computed place by place, kept in the arena.
macro_rules! usual {
    (factors) => {
        fn factors(&self) -> Vec<usize> {
            vec![]
        }
    };
    (elements) => {
        fn elements(&self) -> crate::ops::facts::Elements {
            crate::ops::facts::Elements::Computed
        }
    };
    (storage) => {
        fn storage(&self) -> crate::ops::facts::Storage {
            crate::ops::facts::Storage::Float32
        }
    };
    // Of operators with an attribute `round`: both duties above.
    (rounds) => {
        fn elements(&self) -> crate::ops::facts::Elements {
            self.round.map_or(crate::ops::facts::Elements::Computed, crate::ops::facts::Elements::Rounded)
        }

        fn storage(&self) -> crate::ops::facts::Storage {
            crate::ops::facts::Storage::Bf16
        }
    };
    (reads_bf16) => {
        fn reads_bf16(&self, _operand: usize, _by: crate::ops::facts::Reader) -> bool {
            false
        }
    };
    (receptive) => {
        fn receptive(&self, _operands: &[crate::types::Type]) -> crate::ops::facts::Receptive {
            crate::ops::facts::Receptive::Point
        }
    };
    (memory) => {
        fn memory(&self) -> crate::ops::facts::Memory {
            crate::ops::facts::Memory::Arena
        }
    };
    (folding) => {
        fn folding(&self) -> crate::ops::facts::Folding {
            crate::ops::facts::Folding::Nothing
        }
    };
    ($first:ident, $($duty:ident),+) => {
        crate::ops::usual!($first);
        $(crate::ops::usual!($duty);)+
    };
}
pub(crate) use usual;
