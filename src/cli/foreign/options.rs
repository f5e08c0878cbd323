//! Options about networks of other programs, and what they fit.

use super::{is, read};
use crate::cli::model_file::result;
use crate::cli::options::GlobalOptions;
use crate::cli::output::{Done, usage};
use ninc::io::caffe::Channels;
use ninc::model::Model;
use std::path::{Path, PathBuf};

/// What files of other programs do not say.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ForeignOptions {
    /// Of a network of another program: how its images are prepared, as in `data`: `[scale(1/255), mean_std(mean =
    /// [...], std = [...])]`; `none` for numbers as they are
    #[arg(long, value_name = "LIST", global = true)]
    pub prepare: Option<String>,
    /// Of a network of another program: how pictures are brought to its size
    #[arg(long, value_name = "HOW", value_parser = ["stretch", "crop"], global = true)]
    pub resize: Option<String>,
    /// Of a network of another program: what its data are, as in `data`: `cifar10`, `svhn(extra = true)`. Without it
    /// `--data` is looked at: files under the names of a known set, an .npz, else a folder of pictures
    #[arg(long, value_name = "SOURCE", global = true)]
    pub source: Option<String>,
    /// Of a network of another program: the names of its classes, one a line
    #[arg(long = "classes", value_name = "FILE", global = true)]
    pub class_names: Option<PathBuf>,
    /// Of a network of another program: the shape of an image where the file leaves it open: `3,224,224`
    #[arg(long = "shape", value_name = "SIZES", global = true, value_parser = shape)]
    pub open_shape: Option<Shape>,
    /// Of files of Caffe: the order of the colours that the network was trained with. Caffe's tools read `bgr` (unless
    /// said), and its weights are turned to red, green, blue; `rgb` takes them as they are
    #[arg(long, value_name = "ORDER", value_parser = ["bgr", "rgb"], global = true)]
    pub channels: Option<String>,
}

/// Sizes of an image.
#[derive(Clone, Debug)]
pub struct Shape(pub Vec<usize>);

fn shape(text: &str) -> Result<Shape, String> {
    let sizes: Option<Vec<usize>> = text.split(',').map(|size| size.trim().parse().ok().filter(|s| *s > 0)).collect();
    Ok(Shape(sizes.ok_or("expected sizes like `3,224,224`")?))
}

impl ForeignOptions {
    /// The order of the colours in files of Caffe.
    pub fn order(&self) -> Channels {
        if self.channels.as_deref() == Some("rgb") { Channels::Rgb } else { Channels::Bgr }
    }
}

impl GlobalOptions {
    /// Refuses `--classes` that names more or fewer classes than the network has outputs.
    pub fn check_class_names(&self, path: &Path, model: &Model) -> Done {
        let (Some(file), true) = (&self.foreign.class_names, is(path)) else { return Ok(()) };
        let named = read(path, &self.foreign, None)?.classes.len();
        match result(model) {
            Ok((_, _, outputs)) if named != outputs => Err(usage(
                format!("{} names {named} classes, but {} has {outputs} outputs", file.display(), path.display()),
                "write a line for each output, in their order",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses options about networks of other programs for a model file.
    pub fn refuse_foreign(&self, path: &Path) -> Done {
        let ForeignOptions { prepare, resize, source, class_names, open_shape, .. } = &self.foreign;
        let given = [
            ("--prepare", prepare.is_some()),
            ("--resize", resize.is_some()),
            ("--source", source.is_some()),
            ("--classes", class_names.is_some()),
            ("--shape", open_shape.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(usage(
                format!("{option} is for networks of other programs, and {} is a model file", path.display()),
                "leave it out: the model's `data` and its weights say it",
            )),
            None => Ok(()),
        }
    }

    /// Refuses pictures where neither the network's file nor an option says how they are prepared.
    pub fn need_preparation(&self, path: &Path, prepared: bool) -> Done {
        if prepared || !is(path) || read(path, &self.foreign, None)?.prepare.as_deref() == Some("none") {
            return Ok(());
        }
        let message = format!("{} does not say how pictures are prepared for it", path.display());
        let help = "say it as it was trained: `--prepare '[scale(1/255), mean_std(mean = [0.485, 0.456, 0.406], std = \
                    [0.229, 0.224, 0.225])]'` is torchvision's; `--prepare none` gives it numbers of 0 to 255";
        Err(usage(message, help))
    }
}
