//! Images on their way through a compiled preparation.

use super::prepare::Preparation;
use super::{Dataset, Images, Pixels, Values};
use crate::plan::DType;
use crate::{Engine, Result};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Compiles a preparation of images whose values are bytes or floats: gives a program whose one input is such an image
/// and whose one output is the prepared image.
pub type Compile<'a> = dyn Fn(&Preparation, DType) -> Result<Box<dyn Engine + Send>> + 'a;

/// Numbers of a block of images that are prepared at once: 16 MiB.
const BLOCK: usize = 1 << 22;
/// Images of such a block at most.
const IMAGES: usize = 512;

/// A compiled preparation. Without steps it has no program, and images stay as they are.
pub struct Preparer {
    engine: Option<Mutex<Box<dyn Engine + Send>>>,
    heavy: bool,
}

impl fmt::Debug for Preparer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Preparer").field("heavy", &self.heavy).finish_non_exhaustive()
    }
}

impl Preparer {
    /// Compiles a preparation of images whose values are of this type, if it has steps.
    pub fn new(preparation: &Preparation, dtype: DType, compile: &Compile) -> Result<Preparer> {
        let any = !preparation.spec().is_empty();
        let engine = any.then(|| compile(preparation, dtype).map(Mutex::new)).transpose()?;
        Ok(Preparer { engine, heavy: preparation.is_heavy() })
    }

    /// Like [`Preparation::is_heavy`].
    pub fn is_heavy(&self) -> bool {
        self.heavy
    }

    /// Prepares images.
    pub fn apply(&self, images: Values) -> Result<Vec<f32>> {
        let Some(engine) = &self.engine else { return Ok(images.into_floats()) };
        let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let (input, output) = (engine.inputs()[0].clone(), engine.outputs()[0].name.clone());
        let count = images.feed().len() / input.elements();
        if count == 0 {
            return Ok(vec![]);
        }
        let results = engine.run(count, &[(&input.name, images.feed())], &[&output])?;
        Ok(results.into_iter().next().map_or(vec![], |tensor| tensor.data))
    }

    /// Prepares a whole part, in memory.
    pub fn all(&self, set: &Dataset) -> Result<Dataset> {
        let mut floats = Vec::with_capacity(set.len() * set.images.size());
        let each = block(set);
        for first in (0..set.len()).step_by(each) {
            floats.extend(self.some(set, first, each)?);
        }
        let labels = (0..set.len()).map(|item| set.label(item)).collect();
        let prepared = Dataset::new(Images { dims: set.images.dims, pixels: Pixels::Floats(floats) }, labels);
        Ok(Dataset { origin: Some(Arc::new(set.clone())), ..prepared })
    }

    /// Prepares at most `count` images from `first` on.
    fn some(&self, set: &Dataset, first: usize, count: usize) -> Result<Vec<f32>> {
        self.apply(set.values(first..(first + count).min(set.len()))?)
    }
}

/// Returns the number of images of a block.
fn block(set: &Dataset) -> usize {
    (BLOCK / set.images.size().max(1)).clamp(1, IMAGES)
}

/// A part whose images are prepared in blocks when they are asked for: cheap where they are asked for in order.
pub struct Prepared<'a> {
    set: &'a Dataset,
    preparer: Preparer,
    first: usize,
    images: Vec<f32>,
}

impl<'a> Prepared<'a> {
    /// Prepares nothing yet.
    pub fn new(set: &'a Dataset, preparer: Preparer) -> Prepared<'a> {
        Prepared { set, preparer, first: 0, images: vec![] }
    }

    /// Copies a prepared image.
    pub fn copy(&mut self, item: usize, target: &mut [f32]) -> Result<()> {
        let size = self.set.images.size();
        if item < self.first || (item - self.first + 1) * size > self.images.len() {
            (self.first, self.images) = (item, self.preparer.some(self.set, item, block(self.set))?);
        }
        target.copy_from_slice(&self.images[(item - self.first) * size..][..size]);
        Ok(())
    }
}
