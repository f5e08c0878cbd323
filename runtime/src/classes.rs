//! Which class each output of a network stands for. Outputs of the network, names in weights and classes of data meet
//! in one table, by name, before anything is computed.

use crate::data::{Dataset, labels::numbering};
use crate::weights::{closest, few};
use crate::{Error, Result};
use std::collections::BTreeSet;

/// The classes of a network's outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// Outputs of the network, a class each.
    outputs: usize,
    /// Names of the first outputs; the others have none.
    names: Vec<String>,
    /// Where the names come from, for messages.
    owner: String,
}

impl Classes {
    /// The table of a network with `outputs` classes whose first ones are named `names`, as `owner` says.
    pub fn new(outputs: usize, names: &[String], owner: &str) -> Result<Classes> {
        if names.len() > outputs {
            let (count, all) = (names.len(), listed(names));
            return Err(Error::new(format!(
                "{owner} has {count} classes ({all}), but the network has {outputs} outputs"
            ))
            .with_help(format!(
                "give the network {count} outputs (`--set classes={count}`, if that is a parameter of its text)"
            )));
        }
        let mut seen = BTreeSet::new();
        match names.iter().find(|name| !seen.insert(*name)) {
            Some(twice) => Err(Error::new(format!("{owner} has two classes named `{twice}`"))),
            None => Ok(Classes { outputs, names: names.to_vec(), owner: owner.into() }),
        }
    }

    /// The table of a training on `data` that starts where outputs stand for `learned` (empty where they stand for
    /// nothing yet). Classes of both keep their outputs; new ones take outputs without a name, then those of classes
    /// that the data do not have. Data without names leave the table as it was.
    pub fn of_training(outputs: usize, learned: &[String], data: &[String], owner: &str) -> Result<Classes> {
        let mut table = Classes::new(outputs, data, "the data")?;
        if learned.is_empty() || learned.len() > outputs {
            return Ok(table);
        }
        table = Classes::new(outputs, learned, owner)?;
        for name in data.iter().filter(|name| !learned.contains(name)) {
            match table.names.len() < outputs {
                true => table.names.push(name.clone()),
                false => {
                    let free = table.names.iter().position(|old| !data.contains(old));
                    table.names[free.expect("the data have no more classes than outputs")] = name.clone();
                }
            }
        }
        Ok(table)
    }

    /// The number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Names of the first outputs.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A name for each output: its number where it has none. Empty where no output has a name.
    pub fn all(&self) -> Vec<String> {
        match self.names.is_empty() {
            true => vec![],
            false => (0..self.outputs).map(|output| self.name(output)).collect(),
        }
    }

    /// Returns what an output is called.
    pub fn name(&self, output: usize) -> String {
        self.names.get(output).cloned().unwrap_or_else(|| output.to_string())
    }

    /// A part of data whose classes are called `data`, with labels that are outputs of the network. Data without names
    /// have such labels already; outputs without names are taken in the order of the data's classes.
    pub fn relabel(&self, set: &Dataset, data: &[String]) -> Result<Dataset> {
        if data.is_empty() || data == self.names {
            return Ok(set.clone());
        }
        if self.names.is_empty() {
            return match data.len() == self.outputs {
                true => Ok(set.clone()),
                false => Err(self.countless(data)),
            };
        }
        let outputs: Vec<Option<u32>> =
            data.iter().map(|name| self.names.iter().position(|n| n == name).map(|at| at as u32)).collect();
        let name = |label: u32| data.get(label as usize).cloned().unwrap_or_else(|| label.to_string());
        set.relabelled(&outputs).map_err(|label| self.unknown(&name(label)))
    }

    /// Outputs that no item of a part stands for.
    pub fn without(&self, set: &Dataset) -> Vec<usize> {
        let counts = set.counts();
        (0..self.outputs).filter(|&output| !counts.contains_key(&(output as u32))).collect()
    }

    /// Refuses to train outputs that nothing in the training part teaches, which `data` may allow.
    pub fn check_taught(&self, train: &Dataset) -> Result<()> {
        if train.is_empty() {
            return Err(Error::new("the training part of the data has no images"));
        }
        train.check_labels("training", self.outputs)?;
        let untaught = self.without(train);
        let Some(first) = untaught.first() else { return Ok(()) };
        let message = match untaught.iter().all(|&output| output < self.names.len()) {
            true => format!("no training images of {}", self.few(&untaught)),
            false => {
                let (outputs, taught) = (self.outputs, self.outputs - untaught.len());
                format!(
                    "the network has {outputs} outputs, but the training images have {taught} classes: output \
                         {first} could never be learned"
                )
            }
        };
        let help = match self.names.is_empty() {
            true => numbering(&train.counts().into_keys().collect::<Vec<_>>(), self.outputs),
            false => "give the network one output for each class that has training images (`--set classes=N`, if that \
                      is a parameter of its text)"
                .into(),
        };
        Err(Error::new(message).with_help(help + ", or write `allow_empty = true` in `data` to train all the same"))
    }

    /// Lists some outputs for people, and how many more there are.
    pub fn few(&self, outputs: &[usize]) -> String {
        let names: Vec<String> = outputs.iter().map(|&output| self.name(output)).collect();
        few(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Describes a class of the data that the table does not have.
    fn unknown(&self, name: &str) -> Error {
        let owner = &self.owner;
        let error = Error::new(format!(
            "the data have the class `{name}`, which {owner} does not know: it has {}",
            listed(&self.names)
        ));
        let known: Vec<&str> = self.names.iter().map(String::as_str).collect();
        error.with_help(match closest(name, &known) {
            Some(near) => format!("if it is `{near}`, give it that name; else leave it out, or train with it"),
            None => "leave it out, or train with it".into(),
        })
    }

    /// Describes data whose number of classes is not that of a network whose outputs have no names.
    fn countless(&self, data: &[String]) -> Error {
        let (owner, outputs, count) = (&self.owner, self.outputs, data.len());
        Error::new(format!(
            "{owner} does not name its classes, and the data have {count} ({}) where the network has {outputs} \
             outputs: which output is for which class is not known",
            listed(data)
        ))
        .with_help("give the data a folder for each output, in the order of the outputs; a folder may be empty")
    }
}

/// Lists names for a message.
fn listed(names: &[String]) -> String {
    match names.len() {
        0..=12 => names.join(", "),
        more => format!("{}, … and {} more", names[..10].join(", "), more - 10),
    }
}
