//! Where in pictures a network sees its classes.

use super::super::fault::Fault;
use super::super::parsed;
use super::{Network, Picture};
use crate::cli::output::usage;
use crate::cli::run::maps::{MapArgs, Run, Wanted};
use crate::cli::run::views::Looked;
use crate::cli::tta::TtaArgs;
use ninc_runtime::Error;
use ninc_runtime::data::prepare::Preparation;
use std::ffi::OsString;

/// A map: what it is of, its rows and columns, and its numbers.
pub struct Map {
    /// What it is of.
    pub label: String,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Its numbers, row by row.
    pub values: Vec<f32>,
}

#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Words {
    #[command(flatten)]
    maps: MapArgs,
    #[command(flatten)]
    tta: TtaArgs,
}

impl Network {
    /// Finds the maps of pictures, as `ninc run --maps` with these words behind it, at most `top` of each.
    pub fn maps(
        &mut self,
        pictures: &[(String, Picture)],
        words: &[OsString],
        top: usize,
    ) -> Result<Vec<Vec<Map>>, Fault> {
        // Nothing is written: the name says that numbers are wanted.
        let words: Vec<OsString> = ["--maps=maps.npy".into()].into_iter().chain(words.iter().cloned()).collect();
        let Words { maps, tta } = parsed(&words)?;
        let mut model = self.model.clone();
        let wanted = Wanted::new(&maps, &mut model)?.ok_or_else(|| usage("no maps are asked for", "ask for maps"))?;
        let (scores, classes) = self.scored()?;
        let images = self.images(pictures)?;
        if images.names.is_empty() {
            return Ok(vec![]);
        }
        let dims = self.reader.image()?;
        let values: Vec<String> = wanted.value().into_iter().map(String::from).collect();
        let name = self.result_name()?;
        // The value may have got its name here.
        self.model = model;
        let dtype = images.values.feed().dtype();
        let (global, model) = (self.global.clone(), self.model.clone());
        let weights = self.weights.clone();
        let preparation = weights.preparation.as_ref().filter(|_: &&Preparation| !self.raw);
        let program = self.program(dtype, &values)?;
        let names: Vec<&str> = [name.as_str()].into_iter().chain(values.iter().map(String::as_str)).collect();
        let looked = Looked { images: (&images, dims), names: &names, scores: Some(scores), value: !values.is_empty() };
        let (results, looks) = looked.at(&tta, &mut *program.engine)?;
        let result = results.first().ok_or_else(|| Error::new("the network gave no result"))?;
        let run = Run {
            global: &global,
            model: &model,
            weights: &weights,
            preparation,
            images: (&images, dims),
            looks: &looks,
            result,
            scores,
            classes: &classes,
            top,
            files: &[],
        };
        let made = wanted.make(&run, &mut *program.engine)?;
        let parts = |maps: crate::cli::run::maps::Maps| {
            let (size, maps) = maps.into_parts();
            maps.into_iter().map(|(label, values)| Map { label, size, values }).collect()
        };
        Ok(made.into_iter().map(parts).collect())
    }
}
