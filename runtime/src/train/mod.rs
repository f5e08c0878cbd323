//! Training: the loop around a compiled step. Everything that decides the result is counted, never timed, so that a run
//! can be stopped anywhere and go on to the same bits.

pub mod append_log;
pub mod divergence;
pub mod evaluate;
pub mod events;
pub mod job;
pub mod log;
pub mod rate_finder;
pub mod saving;
pub mod schedule;
pub mod stages;
pub mod state;
mod step;
pub mod step_inputs;
pub mod trainer;
pub mod views;
pub mod whiten;

pub use evaluate::{Evaluation, Scores, evaluate};
pub use job::{Control, Job, Outcome, Saving, Start, Watch};
pub use trainer::train;
