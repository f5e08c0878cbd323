//! The text of a model file for a folder of pictures, with a reason for each choice.

use super::survey::Survey;
use ninc_runtime::data::Sets;
use std::fmt::Write;

/// Sides of an input; the largest one up to the pictures' shorter side is taken.
const SIDES: [usize; 6] = [16, 24, 32, 48, 64, 96];
/// Pictures that all have this size or a smaller one are taken as they are.
const SMALL: usize = 64;
/// A class with fewer pictures than this has few.
const FEW: usize = 500;
/// Pools halve the picture until its shorter side is at most this.
const LAST: usize = 8;

/// What the file says.
struct Draft<'a> {
    name: &'a str,
    place: Option<&'a str>,
    channels: usize,
    height: usize,
    width: usize,
    /// Pictures are as large as the input.
    exact: bool,
    /// Pictures are wider than high, or the reverse.
    oblong: bool,
    classes: usize,
    /// Training pictures of the rarest and of the most frequent class.
    counts: [usize; 2],
    train: usize,
    /// Cut a validation part off.
    valid: bool,
}

/// The model file.
pub fn text(name: &str, place: Option<&str>, sets: &Sets, seen: &Survey) -> String {
    let [width, height] = seen.size;
    let exact = seen.alike && width.max(height) <= SMALL;
    let shorter = width.min(height);
    let side = SIDES.iter().rev().find(|side| **side <= shorter).copied().unwrap_or(SIDES[0]);
    let counts = sets.train.counts();
    let (least, most) = (counts.values().min().copied(), counts.values().max().copied());
    let train = sets.train.len();
    let valid = sets.valid.is_none() && train >= 20 * sets.names.len().max(1);
    let draft = Draft {
        name,
        place,
        channels: if seen.colour { 3 } else { 1 },
        height: if exact { height } else { side },
        width: if exact { width } else { side },
        exact,
        oblong: 10 * width.abs_diff(height) > shorter,
        classes: sets.names.len(),
        counts: [least.unwrap_or(0), most.unwrap_or(0)],
        train: if valid { train - train / 10 } else { train },
        valid,
    };
    draft.network() + &draft.data() + &draft.training()
}

impl Draft<'_> {
    fn network(&self) -> String {
        let Draft { name, channels, height, width, classes, .. } = self;
        let pools = (0..).find(|&pools| height.min(width) >> pools <= LAST).unwrap_or(0);
        let kind = if *channels == 3 { "colour" } else { "grey" };
        let mut text = format!(
            "//! Classifies {kind} pictures of {width} x {height} pixels into {classes} classes. Written by `ninc \
             new`.\n\n/// A 3x3 and a 1x1 convolution, each normalised over the batch.\n\
             block stage(x, channels) {{\n return x\n\
             |> conv(channels = channels, kernel = 3, pad = 1, bias = false)\n|> batch_norm\n|> relu\n\
             |> cccp(channels = channels, bias = false)\n|> batch_norm\n|> relu\n}}\n\n\
             /// More `width` learns more and takes longer: `--set width=64`.\n\
             network {name}(width = 32, classes = {classes}) {{\n input image: [{channels}, {height}, {width}]\n\n\
             image\n|> stage(width)\n"
        );
        for pool in 1..=pools {
            // Formatting into a string cannot fail.
            let _ = writeln!(text, "|> max_pool(kernel = 2, stride = 2)\n|> stage({} * width)", 1 << pool.min(2));
        }
        text + "|> global_avg_pool\n|> dropout(0.2)\n|> linear(features = classes)\n|> softmax\n}\n\n"
    }

    fn data(&self) -> String {
        let resize = if self.oblong && !self.exact { "crop" } else { "stretch" };
        let place = self.place.map(|place| format!("\"{}\", ", escaped(place))).unwrap_or_default();
        let source = match self.exact {
            true => format!("folder({})", place.trim_end_matches(", ")),
            false => format!("folder({place}resize = \"{resize}\")"),
        };
        let (why, augment) = self.augment();
        let valid = match self.valid {
            true => "// A tenth of the training pictures says which epoch did best.\nvalid = 0.1\n",
            false => "",
        };
        format!(
            "data {{\n source = {source}\nprepare = [scale, mean_std]\n// {why}\naugment = {augment}\n{valid}}}\n\n"
        )
    }

    /// Photographs may be mirrored and change their light; what is grey or small may be letters, which may not.
    fn augment(&self) -> (String, String) {
        let side = self.height.min(self.width);
        let few = self.counts[0] < FEW;
        let count = if few { "Few pictures of a class" } else { "Many pictures of each class" };
        let moved = (side / if few { 8 } else { 16 }).max(1);
        match (self.channels == 3 && side >= 32, few) {
            (true, true) => (
                format!(
                    "{count}: parts, mirrored and in another light. Where left and right differ, leave `flip` out."
                ),
                "[random_resized_crop(scale = [0.5, 1]), flip, color_jitter(brightness = 0.2, contrast = 0.2, \
                 saturation = 0.2)]"
                    .into(),
            ),
            (true, false) => (
                format!("{count}: moved and mirrored. Where left and right differ, leave `flip` out."),
                format!("[flip, pad_crop({moved})]"),
            ),
            (false, true) => (format!("{count}: moved and turned a little."), format!("[shift({moved}), rotate(8)]")),
            (false, false) => (format!("{count}: moved a little."), format!("[shift({moved})]")),
        }
    }

    fn training(&self) -> String {
        let most = (self.train / 4).clamp(1, 64);
        let batch = 1usize << most.ilog2();
        // Some 1,500 steps, and neither few nor very many rounds.
        let epochs = (1500 / self.train.div_ceil(batch).max(1)).clamp(15, 100);
        let [least, most] = self.counts;
        let balance = match most >= 3 * least.max(1) {
            true => format!(
                "// The classes have {least} to {most} pictures: each is drawn equally often.\nbalance = true\n"
            ),
            false => String::new(),
        };
        format!(
            "train {{\n optimizer = adamw(rate = 2e-3, decay = 0.01)\nschedule = cosine\nwarmup = 1\nbatch = {batch}\n\
             epochs = {epochs}\n{balance}}}\n"
        )
    }
}

/// A text as a string of the language holds it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").replace('\t', "\\t")
}
