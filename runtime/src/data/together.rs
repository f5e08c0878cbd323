//! Broken files of a data set are named together, so that they need not be found one training after the other.

use crate::{Error, Result};

/// Broken files that a message lists.
const LISTED: usize = 20;

/// What is wrong with the files of a data set while they are read.
#[derive(Debug, Default)]
pub struct Broken {
    errors: Vec<Error>,
}

impl Broken {
    /// Keeps an error for the message at the end.
    pub fn keep<T>(&mut self, read: Result<T>) -> Option<T> {
        read.map_err(|e| self.errors.push(e)).ok()
    }

    /// Gives what was read, or one error of all that could not be.
    pub fn end<T>(self, whole: Option<T>) -> Result<T> {
        match (self.errors.as_slice(), whole) {
            ([], Some(whole)) => Ok(whole),
            ([], None) => Err(Error::new("a part of the data could not be read")),
            ([one], _) => Err(one.clone()),
            (errors, _) => {
                let messages: Vec<&str> = errors.iter().map(|e| e.message.as_str()).collect();
                let what = format!("{} parts of the data", messages.len());
                Err(listed(&messages, &what).with_help("get these files again"))
            }
        }
    }
}

/// The error of several broken files, which are `what`: the messages of the first of them.
pub fn listed(broken: &[&str], what: &str) -> Error {
    let mut message = format!("{what} cannot be read:");
    broken.iter().take(LISTED).for_each(|one| message += &format!("\n  {one}"));
    if broken.len() > LISTED {
        message += &format!("\n  and {} more", broken.len() - LISTED);
    }
    Error::new(message)
}
