//! "Did you mean …?": the known name nearest to an unknown one.

/// The field's other names for what the language has: what people type who come from another framework.
const SYNONYMS: &[(&str, &str)] = &[
    ("conv2d", "conv"),
    ("convolution", "conv"),
    ("conv1x1", "cccp"),
    ("dense", "linear"),
    ("fc", "linear"),
    ("fully_connected", "linear"),
    ("inner_product", "linear"),
    ("maxpool", "max_pool"),
    ("max_pool2d", "max_pool"),
    ("avgpool", "avg_pool"),
    ("average_pool", "avg_pool"),
    ("avg_pool2d", "avg_pool"),
    ("gap", "global_avg_pool"),
    ("batchnorm", "batch_norm"),
    ("bn", "batch_norm"),
    ("cat", "concat"),
    ("padding", "pad"),
    ("filters", "channels"),
    ("out_channels", "channels"),
    ("kernel_size", "kernel"),
    ("strides", "stride"),
    ("units", "features"),
    ("out_features", "features"),
    ("lr", "rate"),
    ("learning_rate", "rate"),
    ("weight_decay", "decay"),
    ("batch_size", "batch"),
    ("bias_lr", "bias_rate"),
    ("p", "rate"),
    ("eps", "epsilon"),
    ("gamma", "factor"),
    ("optimiser", "optimizer"),
    ("grad_clip", "clip"),
    ("patience", "early_stop"),
    ("ema", "average"),
    ("kaiming", "he"),
    ("glorot", "xavier"),
    ("gaussian", "normal"),
    ("zeros", "constant"),
    ("cosine_annealing", "cosine"),
    ("step", "steps"),
    ("standardize", "mean_std"),
    ("normalize", "mean_std"),
    ("horizontal_flip", "flip"),
    ("random_crop", "pad_crop"),
    ("var", "let"),
    ("val", "let"),
    ("const", "let"),
    ("loop", "repeat"),
];

/// The known name nearest to `name`, if it is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > 64 {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let synonym = SYNONYMS.iter().any(|(other, ours)| *other == lower && *ours == candidate);
        let d = if synonym { 0 } else { strsim::osa_distance(&lower, &candidate.to_ascii_lowercase()) };
        // A third of the letters may be wrong; of short names one, and then not the only one.
        let most = (name.len().max(candidate.len()) / 3).max(usize::from(name.len() > 1));
        if d <= most && best.is_none_or(|(b, _)| d < b) {
            best = Some((d, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The way out of an unknown name.
pub struct Suggestion {
    /// The sentence.
    pub help: String,
    /// The name that can take the place of the unknown one.
    pub near: Option<String>,
}

/// "Did you mean …?"
pub fn meant(near: &str) -> Suggestion {
    Suggestion { help: format!("did you mean `{near}`?"), near: Some(near.into()) }
}

/// A sentence without a name to put in.
pub fn sentence(help: String) -> Suggestion {
    Suggestion { help, near: None }
}

/// The help for an unknown name: the nearest known one, or all of them if they are few.
pub fn help(name: &str, known: &[&str], what: &str) -> Option<Suggestion> {
    match nearest(name, known.iter().copied()) {
        Some(near) => Some(meant(near)),
        None if known.is_empty() => None,
        None if known.len() <= 16 => Some(sentence(format!("{what}: {}", listed(known)))),
        None => None,
    }
}

/// `a`, `b` and `c`, in code quotes.
pub fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant() {
        let known = ["conv", "cccp", "max_pool", "avg_pool", "relu", "linear"];
        assert_eq!(nearest("max_pol", known), Some("max_pool"));
        assert_eq!(nearest("MaxPool", known), Some("max_pool"));
        assert_eq!(nearest("rleu", known), Some("relu"));
        assert_eq!(nearest("dense", known), Some("linear"));
        assert_eq!(nearest("transformer", known), None);
    }
}
