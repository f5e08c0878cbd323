//! The stages of compilation and the texts that `--emit` asks for.

use crate::passes;
use crate::types::Format;
use ninc_runtime::{Error, Result};
use std::collections::BTreeSet;
use std::fmt;

/// The stages of compilation: the single list behind `--emit`, golden headers, `--time-passes` and error context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The syntax tree, as the front end reads it.
    Ast,
    /// The graph as the front end made it.
    Graph,
    /// The graph with gradients and updates.
    Grad,
    /// The final graph.
    Opt,
    /// What was weighed for each convolution.
    Explain,
    /// The kernels.
    Kernel,
    /// When kernels run, and where values live.
    Plan,
    /// Cranelift's IR.
    Clif,
    /// Machine code.
    Asm,
    /// OpenCL C.
    OpenCl,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Stage; 10] = [
        Stage::Ast,
        Stage::Graph,
        Stage::Grad,
        Stage::Opt,
        Stage::Explain,
        Stage::Kernel,
        Stage::Plan,
        Stage::Clif,
        Stage::Asm,
        Stage::OpenCl,
    ];

    /// Returns the word for it on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Ast => "ast",
            Stage::Graph => "graph",
            Stage::Grad => "grad",
            Stage::Opt => "opt",
            Stage::Explain => "explain",
            Stage::Kernel => "kernel",
            Stage::Plan => "plan",
            Stage::Clif => "clif",
            Stage::Asm => "asm",
            Stage::OpenCl => "opencl",
        }
    }
}

/// What `--emit` asks for: a stage, or the graph after one pass (`opt:fuse`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Emit {
    /// The stage.
    pub stage: Stage,
    /// The pass after which the graph is shown.
    pub pass: Option<String>,
}

impl From<Stage> for Emit {
    fn from(stage: Stage) -> Emit {
        Emit { stage, pass: None }
    }
}

impl Emit {
    /// Is it a text that only a training step has: the graph with gradients, or that after a pass of training alone?
    pub fn of_training(&self) -> bool {
        let inference = |pass: &String| passes::INFERENCE.iter().any(|p| p.name == *pass);
        self.stage == Stage::Grad || self.pass.as_ref().is_some_and(|pass| !inference(pass))
    }
}

impl Emit {
    /// The passes that can stand behind `opt:`, in the order of their names.
    pub fn passes() -> Vec<&'static str> {
        let rounds = Format::ALL.map(passes::round::pass);
        let all = [passes::INFERENCE, passes::BEFORE_TRAINING, passes::AFTER_TRAINING, &rounds].concat();
        let names: BTreeSet<&str> = all.iter().map(|pass| pass.name).collect();
        names.into_iter().collect()
    }
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.pass {
            Some(pass) => write!(f, "{}:{pass}", self.stage.name()),
            None => f.write_str(self.stage.name()),
        }
    }
}

impl std::str::FromStr for Emit {
    type Err = Error;

    fn from_str(text: &str) -> Result<Emit> {
        let (stage, pass) = match text.split_once(':') {
            Some((stage, pass)) => (stage, Some(pass)),
            None => (text, None),
        };
        let names = Stage::ALL.map(Stage::name).join(", ");
        let found = Stage::ALL.into_iter().find(|s| s.name() == stage);
        let stage =
            found.ok_or_else(|| Error::new(format!("unknown stage `{text}`")).with_help(format!("stages: {names}")))?;
        let known = Emit::passes();
        if let Some(pass) = pass
            && (stage != Stage::Opt || !known.contains(&pass))
        {
            let help = format!("`opt:` takes one of {}", known.join(", "));
            return Err(Error::new(format!("unknown pass in `{text}`")).with_help(help));
        }
        Ok(Emit { stage, pass: pass.map(str::to_string) })
    }
}

/// A text that `--emit` asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// The stage, and the pass if one was named.
    pub what: Emit,
    /// The program after that stage.
    pub text: String,
}
