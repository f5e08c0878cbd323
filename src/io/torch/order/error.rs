//! Why layers cannot be matched.

use thiserror::Error;

/// Why layers of a state dict cannot be matched with those of a network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MatchError {
    /// No layer has a counterpart.
    #[error("no layer of the file has tensors of the names and shapes of one of the network")]
    Nothing,
    /// Only the file has normalisations.
    #[error("the file has batch normalisation (`{0}` is its first), and the network has none")]
    Folded(String),
    /// Layers whose weights are alike have other tensors beside them.
    #[error("`{net}` of the network has {wants}; `{file}` of the file has {has}")]
    Others {
        /// The network's layer.
        net: String,
        /// Its tensors.
        wants: String,
        /// The file's layer.
        file: String,
        /// Its tensors.
        has: String,
    },
    /// A kind has more layers on one side.
    #[error("of layers with {kind} the file has {}, the network {}", few(file), few(net))]
    Count {
        /// The tensors.
        kind: String,
        /// The file's layers.
        file: Vec<String>,
        /// The network's layers.
        net: Vec<String>,
    },
    /// Layers of a kind that lie in branches.
    #[error("`{0}` and `{1}` of the network have tensors of the same shapes, and neither reads what the other makes")]
    Branches(String, String),
    /// A normalisation of the network has none at its place in the file.
    #[error("`{norm}` of the network normalises what `{net}` makes, and behind `{file}` the file has {follows}")]
    Norm {
        /// The network's normalisation.
        norm: String,
        /// The layer in front of it.
        net: String,
        /// The file's layer for that.
        file: String,
        /// What the file has next.
        follows: String,
    },
    /// A normalisation of the file has none at its place in the network.
    #[error("`{norm}` of the file follows `{file}`, and the network has no batch_norm behind `{net}`")]
    NoNorm {
        /// The file's normalisation.
        norm: String,
        /// The layer in front of it.
        file: String,
        /// The network's layer for that.
        net: String,
    },
}

impl MatchError {
    /// Says what may be done.
    pub fn help(&self) -> &'static str {
        match self {
            MatchError::Nothing | MatchError::Count { .. } => "is it the same network?",
            MatchError::Folded(_) => {
                "write the network with a batch_norm at each of these places; `ninc fold` makes weights of it for the \
                 network without"
            }
            MatchError::Others { .. } => {
                "the layers must have the same tensors: `bias = false` makes a layer without bias"
            }
            MatchError::Branches(..) | MatchError::Norm { .. } => {
                "`--rename 'LAYER OF THE FILE=LAYER OF THE NETWORK'` says which is which"
            }
            MatchError::NoNorm { .. } => "write the network with the batch_norm that the file has there",
        }
    }
}

/// Counts them and names the first.
fn few(names: &[String]) -> String {
    let first: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    format!("{} ({}{})", names.len(), first.join(", "), if names.len() > 3 { ", …" } else { "" })
}
