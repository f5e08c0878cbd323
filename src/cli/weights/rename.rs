//! `--rename`: other programs' names of tensors become the network's.

use crate::cli::foreign::{self, ForeignOptions};
use crate::cli::options;
use crate::cli::output::{Done, usage};
use ninc_runtime::weights::{Weights, closest};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct Renames {
    /// The tensor or layer OLD of the weights is the network's NEW. `*` on both sides stands for the same text; an OLD
    /// that ends in `.` is the start of names: `module.=`
    #[arg(long = "rename", value_name = "OLD=NEW", value_parser = options::pair)]
    list: Vec<(String, String)>,
}

impl Renames {
    /// Refuses new names where no weights are given that could have them.
    pub fn need(&self, weights: Option<&Path>) -> Done {
        match (self.list.first(), weights) {
            (Some((old, new)), None) => {
                Err(usage(format!("--rename {old}={new} is about weights, and none are given"), "add `--weights FILE`"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the options as they are typed.
    pub fn text(&self) -> String {
        self.list.iter().map(|(old, new)| format!("{old}={new}")).collect::<Vec<_>>().join(" ")
    }

    /// Does an option give a layer this name, and no other one?
    pub fn say(&self, layer: &str) -> bool {
        self.list.iter().any(|(_, new)| new == layer)
    }

    /// Returns a tensor's new name.
    pub fn target(&self, name: String) -> String {
        self.list.iter().fold(name, |name, (old, new)| renamed(&name, old, new).unwrap_or(name))
    }

    /// Quantised weights state formats by the names that they have.
    pub fn refuse(&self, path: &Path) -> Done {
        match self.list.first() {
            Some((old, new)) => Err(usage(
                format!(
                    "--rename {old}={new}: {} is quantised, and states the formats of layers by name",
                    path.display()
                ),
                "rename the float weights, and quantise those",
            )),
            None => Ok(()),
        }
    }

    /// Reads weights, with their new names.
    pub fn read(&self, path: &Path, options: &ForeignOptions) -> Done<Weights> {
        self.apply(foreign::any_weights(path, options)?, path)
    }

    /// Like [`Renames::read`]; a network without parameters has no file of weights.
    pub fn read_if_any(&self, path: Option<&PathBuf>, options: &ForeignOptions) -> Done<Weights> {
        path.map_or_else(|| Ok(Weights::default()), |path| self.read(path, options))
    }

    /// Gives weights from `path` their new names, one option after the other.
    pub fn apply(&self, mut weights: Weights, path: &Path) -> Done<Weights> {
        if weights.formats.is_some() {
            self.refuse(path)?;
        }
        for (old, new) in &self.list {
            check(old, new)?;
            let known: Vec<String> = weights.tensors.keys().chain(weights.others.keys()).cloned().collect();
            let mut targets: BTreeMap<String, &String> = BTreeMap::new();
            for name in &known {
                let target = renamed(name, old, new).unwrap_or_else(|| name.clone());
                if let Some(other) = targets.insert(target.clone(), name) {
                    let message = format!("--rename {old}={new} makes `{target}` of both `{other}` and `{name}`");
                    return Err(usage(message, format!("rename one of {} to something else", path.display())));
                }
            }
            if !known.iter().any(|name| renamed(name, old, new).is_some()) {
                let names: Vec<&str> = known.iter().map(String::as_str).collect();
                let help = match closest(old, &names) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("it has {}", names.join(", ")),
                };
                return Err(usage(format!("{} has no `{old}` to rename", path.display()), help));
            }
            let target = |name: String| renamed(&name, old, new).unwrap_or(name);
            weights.tensors = weights.tensors.into_iter().map(|(name, tensor)| (target(name), tensor)).collect();
            weights.others = weights.others.into_iter().map(|(name, kind)| (target(name), kind)).collect();
        }
        Ok(weights)
    }
}

/// Refuses a pair whose `*` does not stand for one text: once, on both sides or on none.
fn check(old: &str, new: &str) -> Done {
    let stars = [old, new].map(|text| text.matches('*').count());
    match stars {
        [0, 0] | [1, 1] => Ok(()),
        _ => Err(usage(
            format!("--rename {old}={new} has {} and {} `*`", stars[0], stars[1]),
            "one `*` on each side stands for the same text: `features.*=conv.*`",
        )),
    }
}

/// Returns the new name of a tensor that `old` fits.
fn renamed(name: &str, old: &str, new: &str) -> Option<String> {
    if let Some((start, end)) = old.split_once('*') {
        let text = name.strip_prefix(start)?.strip_suffix(end)?;
        return Some(new.replacen('*', text, 1));
    }
    let rest = name.strip_prefix(old)?;
    let fits = old.ends_with('.') || rest.is_empty() || rest.starts_with('.');
    fits.then(|| format!("{new}{rest}")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::renamed;

    #[test]
    fn names_by_their_rules() {
        let cases = [
            ("conv1.weight", "conv1", "first", Some("first.weight")),
            ("conv1.weight", "conv1.weight", "first.weight", Some("first.weight")),
            ("conv10.weight", "conv1", "first", None),
            ("module.conv1.weight", "module.", "", Some("conv1.weight")),
            ("module.conv1.weight", "module.", "net.", Some("net.conv1.weight")),
            ("a.module.b", "module.", "", None),
            ("features.0.weight", "features.*.weight", "conv*.weight", Some("conv0.weight")),
            ("features.0.bias", "features.*.weight", "conv*.weight", None),
            ("features.3.weight", "features.*", "layers.*.inner", Some("layers.3.weight.inner")),
            ("weight", "*", "net.*", Some("net.weight")),
            ("ab", "ab*b", "x*", None),
            ("module.", "module.", "", None),
        ];
        for (name, old, new, right) in cases {
            assert_eq!(renamed(name, old, new).as_deref(), right, "{name} {old}={new}");
        }
    }
}
