//! What a sweep's trainings differ in: model files, values of parameters, seeds.

use crate::cli::output::{Done, usage};
use ninc::front::same_setting;
use std::path::{Path, PathBuf};

/// The values that a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Vary {
    /// The parameter.
    pub name: String,
    /// Its values, as they are typed.
    pub values: Vec<String>,
}

/// A model file with a value for each parameter that is varied.
#[derive(Clone, Debug, PartialEq)]
pub struct Combination {
    /// The model file.
    pub file: PathBuf,
    /// Parameters and their values, in the order of the command line.
    pub set: Vec<(String, String)>,
}

impl Combination {
    /// Names it, among those of several model files or of one.
    pub fn label(&self, several_files: bool) -> String {
        let file = (several_files || self.set.is_empty()).then(|| self.file.display().to_string());
        let set = self.set.iter().map(|(name, value)| format!("{name}={value}"));
        file.into_iter().chain(set).collect::<Vec<_>>().join(" ")
    }
}

/// Reads `NAME=A,B,…`; commas within brackets and strings do not separate.
pub fn parse(text: &str) -> Result<Vary, String> {
    let (name, list) = text.split_once('=').ok_or("expected NAME=A,B,…")?;
    let (mut values, mut depth, mut string) = (vec![String::new()], 0, false);
    for c in list.chars() {
        match c {
            '"' => string = !string,
            '[' | '(' if !string => depth += 1,
            ']' | ')' if !string => depth -= 1,
            ',' if !string && depth == 0 => {
                values.push(String::new());
                continue;
            }
            _ => {}
        }
        values.last_mut().ok_or("expected a value")?.push(c);
    }
    let (name, values) = (name.trim().to_string(), values.iter().map(|v| v.trim().to_string()).collect::<Vec<_>>());
    if string || depth != 0 {
        return Err("a bracket or a string has no other end".into());
    }
    if name.is_empty() || values.iter().any(String::is_empty) {
        return Err("expected NAME=A,B,… with a value before and after each comma".into());
    }
    match (1..values.len()).find(|&i| values[..i].iter().any(|value| same_setting(value, &values[i]))) {
        Some(again) => Err(format!("the value `{}` is given twice", values[again])),
        None => Ok(Vary { name, values }),
    }
}

/// All files with all values; the last parameter changes fastest. `set` are parameters with one value for all.
pub fn combinations(files: &[PathBuf], vary: &[Vary], set: &[(String, String)]) -> Done<Vec<Combination>> {
    for (i, one) in vary.iter().enumerate() {
        let name = &one.name;
        if vary[..i].iter().any(|other| other.name == *name) {
            return Err(usage(format!("--vary {name} is given twice"), "give all values at once: --vary NAME=A,B,C"));
        }
        if set.iter().any(|(other, _)| other == name) {
            return Err(usage(format!("{name} is given by --vary and by --set"), "leave one of them out"));
        }
    }
    if let Some(again) = (1..files.len()).find(|&i| files[..i].contains(&files[i])) {
        return Err(usage(format!("{} is given twice", files[again].display()), "name each model file once"));
    }
    let mut all: Vec<Combination> =
        files.iter().map(|file: &PathBuf| Combination { file: file.clone(), set: vec![] }).collect();
    for Vary { name, values } in vary {
        let with = |one: &Combination, value: &String| {
            let mut one = one.clone();
            one.set.push((name.clone(), value.clone()));
            one
        };
        all = all.iter().flat_map(|one| values.iter().map(move |value| with(one, value))).collect();
    }
    Ok(all)
}

/// A folder's name for the training of this number (from 1): what it varies, as far as file systems like the letters.
pub fn folder(number: usize, combination: &Combination, seed: u64) -> String {
    let file = combination.file.file_stem().unwrap_or(Path::new("").as_os_str()).to_string_lossy();
    let set = combination.set.iter().map(|(name, value)| format!("-{name}={value}"));
    let text = format!("{file}{}", set.collect::<String>());
    let safe = |c: char| if c.is_alphanumeric() || "-=._+".contains(c) { c } else { '_' };
    let text: String = text.chars().map(safe).take(80).collect();
    format!("{number:03}-{text}-seed={seed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_brackets_and_strings_do_not_separate() {
        let values = |text: &str| parse(text).map(|vary| (vary.name, vary.values));
        let list = |values: &[&str]| values.iter().map(|v| v.to_string()).collect::<Vec<_>>();
        assert_eq!(values("width=8, 16"), Ok(("width".into(), list(&["8", "16"]))));
        let lists = values("channels=[16, 32],[8, 8],\"a,]b\"");
        assert_eq!(lists, Ok(("channels".into(), list(&["[16, 32]", "[8, 8]", "\"a,]b\""]))));
        for wrong in ["width", "=1,2", "width=", "width=1,,2", "width=1,2,", "width=[1,2", "width=1]", "width=1, 1"]
            .into_iter()
            .chain(["rate=0.1,1e-1", "how=he,\"he\"", "width=[8,8],[8, 8]", "rate=-1,-1.0"])
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_parameter_changes_fastest() {
        let vary = [parse("a=1,2").expect("two values"), parse("b=[x],y").expect("two values")];
        let all = combinations(&["f.nin".into(), "g.nin".into()], &vary, &[]).unwrap_or_default();
        let labels: Vec<String> = all.iter().map(|one| one.label(true)).collect();
        assert_eq!(labels[..3], ["f.nin a=1 b=[x]", "f.nin a=1 b=y", "f.nin a=2 b=[x]"]);
        assert_eq!((labels.len(), labels[7].as_str()), (8, "g.nin a=2 b=y"));
        assert_eq!(folder(7, &all[0], 3), "007-f-a=1-b=_x_-seed=3");
        assert!(combinations(&["f.nin".into()], &vary, &[("b".into(), "z".into())]).is_err());
        assert!(combinations(&["f.nin".into()], &[vary[0].clone(), vary[0].clone()], &[]).is_err());
    }
}
