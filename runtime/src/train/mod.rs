//! Training: the loop around a compiled step. Everything that decides the result is counted, never timed, so that a run can
//! be stopped anywhere and go on to the same bits.

pub mod evaluate;
pub mod feeds;
pub mod log;
pub mod schedule;
pub mod state;
pub mod trainer;

pub use evaluate::{Evaluation, Scores, evaluate};
pub use trainer::{Control, Job, Outcome, Start, Watch, train};
