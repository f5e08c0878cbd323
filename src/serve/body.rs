//! What the body of a request is, by its type and its first bytes.

use super::Meaning;
use super::multipart;
use super::refusal::Refusal;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use ninc_runtime::npy;

/// The body of a request.
#[derive(Clone, Debug)]
pub struct Body {
    /// What the bytes are.
    pub kind: Kind,
    /// What numbers mean; pictures are never prepared.
    pub meaning: Meaning,
    /// The bytes.
    pub bytes: Bytes,
}

/// What bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One picture, in a format that its own bytes tell.
    Picture,
    /// An array of NumPy.
    Npy,
    /// Numbers in JSON.
    Json,
    /// Float32 numbers, the lowest byte first, as many as some images have.
    Floats,
    /// Files of a form, with what stands between them.
    Form(Vec<u8>),
}

impl Kind {
    /// Says what a body of this type is; programs that say nothing (`curl --data-binary` says that it is a form) send
    /// pictures or arrays of NumPy.
    pub fn of(content_type: Option<&HeaderValue>, bytes: &[u8]) -> Result<Kind, Refusal> {
        let Ok(full) = content_type.map_or(Ok(""), |value| value.to_str()) else {
            return Err(Refusal::new(415, "the type of the body is not text").with_help(HELP));
        };
        let word = full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let npy = bytes.starts_with(npy::MAGIC);
        match &word[..] {
            "application/json" => Ok(Kind::Json),
            "multipart/form-data" => multipart::boundary(full).map(Kind::Form),
            "application/x-npy" | "application/npy" => Ok(Kind::Npy),
            "" | "application/x-www-form-urlencoded" | "application/octet-stream" if npy => Ok(Kind::Npy),
            "application/octet-stream" => Ok(Kind::Floats),
            "" | "application/x-www-form-urlencoded" => Ok(Kind::Picture),
            picture if picture.starts_with("image/") => Ok(Kind::Picture),
            other => Err(Refusal::new(415, format!("a body of the type {other:?} is not read")).with_help(HELP)),
        }
    }
}

/// What is read.
const HELP: &str = "send a picture (image/png, image/jpeg …), an array (application/json, application/x-npy, or \
                    application/octet-stream with float32 numbers), or several pictures as multipart/form-data";
