//! `ninc serve`: a network behind HTTP. One thread speaks with all clients (`http`, `routes`), some read images and run
//! the network (`queue`): what waits is put together in batches, and each image has the numbers that it has alone.

mod array;
mod body;
mod http;
mod log;
mod metrics;
mod multipart;
mod parameters;
mod queue;
mod refusal;
mod routes;
mod stream;

pub use array::{Array, array};
pub use body::{Body, Kind};
pub use http::{Served, Stop, serve};
pub use multipart::{Part, parts};
pub use refusal::Refusal;

use serde_json::Value;
use std::time::Duration;

/// The network that is served. All functions may be called by several threads at once.
pub trait Network: Send + Sync {
    /// Returns the number of engines: runs that may go on at once.
    fn engines(&self) -> usize;
    /// Returns what it is called.
    fn name(&self) -> String;
    /// Describes it, for `GET /model`.
    fn about(&self) -> Value;
    /// Reads the images of a body.
    fn read(&self, body: &Body) -> Result<Images, Refusal>;
    /// Computes results for `count` images by one of the engines, which nobody else uses meanwhile. Returns as many
    /// numbers for each image.
    fn run(&self, engine: usize, meaning: Meaning, count: usize, values: &[f32]) -> Result<Vec<f32>, Refusal>;
    /// Says what the results of an image mean: its `top` best classes.
    fn answer(&self, name: &str, results: &[f32], top: usize) -> Result<Value, Refusal>;
}

/// What numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// They are images as they were before the preparation.
    Plain,
    /// They are prepared already.
    Prepared,
}

/// Images that were read.
#[derive(Debug)]
pub struct Images {
    /// What their numbers mean.
    pub meaning: Meaning,
    /// What each is called.
    pub names: Vec<String>,
    /// The numbers of all, one image after the other.
    pub values: Vec<f32>,
}

/// Bounds of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Images of a batch at most.
    pub batch: usize,
    /// Requests that wait at most.
    pub queue: usize,
    /// Bytes of a request's body at most.
    pub body: usize,
    /// Bytes of all bodies that are being received or wait, at most.
    pub bodies: usize,
    /// Connections at most.
    pub connections: usize,
    /// How long a client may take to send a request's head, to send its body, and to take some of an answer.
    pub patience: Duration,
    /// How long the first image of a batch waits for others.
    pub wait: Duration,
    /// Threads that read images and run the network.
    pub workers: usize,
    /// Say each request on stderr?
    pub log: bool,
}
