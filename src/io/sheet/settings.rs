//! Settings of weights that most layers share become the network's `defaults`.

use super::{Arg, Args, Layer, Sheet};

/// The settings that readers give, what the language takes unless said, and the layers that have them.
fn settings() -> [(&'static str, Arg); 5] {
    [
        ("init", Arg::Call("he".into())),
        ("rate", Arg::Float(1.0)),
        ("bias_rate", Arg::Float(1.0)),
        ("decay", Arg::Float(1.0)),
        ("bias_decay", Arg::Float(0.0)),
    ]
}

/// Does a setting mean something to a layer?
fn takes(layer: &Layer, setting: &str) -> bool {
    let biased = layer.args.get("bias") != Some(&Arg::Bool(false));
    match layer.function {
        _ if layer.args.get("frozen").is_some() => false,
        "conv" | "cccp" | "mlpconv" | "linear" => biased || !setting.starts_with("bias_"),
        "batch_norm" => setting != "init",
        "prelu" => ["rate", "bias_decay"].contains(&setting),
        _ => false,
    }
}

impl Sheet {
    /// Takes the settings that more than half of the layers share out of them, and returns them.
    pub(super) fn shared_settings(&mut self) -> Args {
        let mut shared = Args::default();
        for (name, usual) in settings() {
            let ids: Vec<usize> = (0..self.layers.len()).filter(|&id| takes(&self.layers[id], name)).collect();
            let own = |id: &usize| self.layers[*id].args.get(name).unwrap_or(&usual).clone();
            let values: Vec<Arg> = ids.iter().map(own).collect();
            let count = |value: &Arg| values.iter().filter(|other| *other == value).count();
            let Some(most) = values.iter().find(|value| 2 * count(value) > ids.len()) else { continue };
            if *most == usual || ids.len() < 2 {
                continue;
            }
            for (id, value) in ids.iter().zip(&values) {
                let args = &mut self.layers[*id].args;
                args.0.retain(|(n, _)| *n != name);
                if value != most {
                    args.0.push((name, value.clone()));
                }
            }
            shared = shared.with(name, most.clone());
        }
        shared
    }
}
