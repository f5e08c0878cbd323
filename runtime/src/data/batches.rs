//! Batches in a seeded order, made on a thread of their own so that loading runs beside computation.

use super::augment::Draws;
use super::balance::{self, Drawn};
use super::mixup::{self, Mixed};
use super::preparer::Preparer;
use super::{Dataset, Purpose, Values, augment, stream};
use crate::finite::first_broken;
use crate::philox::Stream;
use crate::shares;
use crate::spec::Augment;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Batches that wait ready; more would only cost memory.
const AHEAD: usize = 3;

/// What a batch is made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// Items in their order.
    pub set: Dataset,
    /// `None` where the data set is prepared already.
    pub preparer: Option<Arc<Preparer>>,
    /// What is drawn from it is keyed by this.
    pub augment: Vec<Augment>,
    /// Images of a batch.
    pub batch: usize,
    /// Are the items in a new order each epoch?
    pub shuffle: bool,
    /// Does each class give equally many images of an epoch?
    pub balance: bool,
    /// What the loss of an image is multiplied by, for each class; empty for 1.
    pub class_weights: Vec<f32>,
    /// Seed of the order and of the changes.
    pub seed: u64,
    /// Rank and number of ranks that share each batch: the images of others are zeros. Not where images are mixed with
    /// any of the batch.
    pub part: Option<(usize, usize)>,
}

/// Images one after the other, `[count, channels, height, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Values, `[count, channels, height, width]`; bytes where nothing was done to them.
    pub images: Values,
    /// A class for each image.
    pub labels: Vec<i32>,
    /// What the loss of each image is multiplied by, its share in a mixture included.
    pub weights: Vec<f32>,
    /// The same for what was mixed in: 0 where nothing was.
    pub partner_weights: Vec<f32>,
    /// The second images of pairs, where images were mixed.
    pub mixed: Option<Mixed>,
}

impl Batch {
    /// Images whose losses all count alike.
    pub fn new(images: Values, labels: Vec<i32>) -> Batch {
        let (weights, partner_weights) = (vec![1.0; labels.len()], vec![0.0; labels.len()]);
        Batch { images, labels, weights, partner_weights, mixed: None }
    }

    /// Labels of what was mixed in; their own where nothing was.
    pub fn partners(&self) -> &[i32] {
        self.mixed.as_ref().map_or(&self.labels, |m| &m.partners)
    }

    /// The part of each image that is its own.
    pub fn share(&self) -> f32 {
        self.mixed.as_ref().map_or(1.0, |m| m.share)
    }
}

impl Source {
    /// A data set in order, for evaluation: nothing drawn at random, and prepared if there is a `preparer`.
    pub fn plain(set: &Dataset, preparer: Option<&Arc<Preparer>>, batch: usize) -> Result<Source> {
        let (set, preparer) = Source::prepared(set, preparer, &[])?;
        let (batch, class_weights) = (batch.max(1), vec![]);
        Ok(Source {
            set,
            preparer,
            augment: vec![],
            batch,
            shuffle: false,
            balance: false,
            class_weights,
            seed: 0,
            part: None,
        })
    }

    /// Makes a part a source: prepared whole where that costs more than a network's work and nothing is to be changed
    /// before, else batch by batch, which takes less memory.
    pub fn prepared(
        set: &Dataset,
        preparer: Option<&Arc<Preparer>>,
        augment: &[Augment],
    ) -> Result<(Dataset, Option<Arc<Preparer>>)> {
        let first = augment::stages(augment).0.is_empty();
        match preparer {
            Some(preparer) if preparer.is_heavy() && first => Ok((preparer.all(set)?, None)),
            preparer => Ok((set.clone(), preparer.cloned())),
        }
    }

    /// Batches of an epoch; the last may be smaller.
    pub fn batches(&self) -> usize {
        self.set.len().div_ceil(self.batch)
    }

    /// Items in the order of an epoch: a function of seed and epoch alone.
    pub fn order(&self, epoch: u32) -> Vec<Drawn> {
        balance::order(&self.set, self.seed, epoch, self.balance, self.shuffle)
    }

    /// Epoch and number of the batch that comes `more` batches after one.
    pub fn batch_of(&self, epoch: u32, batch: usize, more: usize) -> (u32, usize) {
        let (number, each) = (batch + more, self.batches().max(1));
        (epoch + (number / each) as u32, number % each)
    }

    fn make(&self, epoch: u32, drawn: &[Drawn]) -> Result<Batch> {
        let (size, own, all) = (self.set.images.size(), self.own(drawn.len()), drawn);
        let drawn = &all[own.clone()];
        let mut images = self.read(epoch, drawn)?;
        if let Some(preparer) = &self.preparer {
            images = Values::Floats(preparer.apply(images)?);
        }
        let (_, augment) = augment::stages(&self.augment);
        if !augment.is_empty() {
            let mut floats = images.into_floats();
            for (&drawn, image) in drawn.iter().zip(floats.chunks_exact_mut(size.max(1))) {
                let mut changed = image.to_vec();
                let mut draws = self.draws(Purpose::Augment, epoch, drawn);
                augment::apply(augment, &mut draws, self.set.images.dims, &mut changed);
                image.copy_from_slice(&changed);
            }
            images = Values::Floats(floats);
        }
        // Bytes are numbers.
        let floats = if let Values::Floats(floats) = &images { &floats[..] } else { &[] };
        for (drawn, image) in drawn.iter().zip(floats.chunks_exact(size.max(1))) {
            if let Some((_, what)) = first_broken(image) {
                let image = self.set.called(drawn.item as usize);
                return Err(Error::new(format!("{image} has, as the network takes it, a value that is {what}"))
                    .with_help("its numbers are too large, or not numbers once they are prepared: leave it out"));
            }
        }
        let images = images.among(own.start * size, all.len() * size);
        let drawn = all;
        let labels = drawn.iter().map(|drawn| self.set.label(drawn.item as usize) as i32).collect();
        let mut batch = Batch::new(images, labels);
        if !self.class_weights.is_empty() {
            batch.weights = batch.labels.iter().map(|&label| self.class_weights[label as usize]).collect();
        }
        for step in &self.augment {
            if let Augment::Mixup { alpha } = step {
                // Keyed by the batch's first image, which no other batch of the epoch has.
                let first = drawn.first().copied().unwrap_or(Drawn { item: 0, again: 0 });
                mixup::mix(&mut batch, *alpha, &mut self.random(Purpose::Mixup, epoch, first));
            }
        }
        Ok(batch)
    }

    /// Returns which of the images of a batch are made.
    fn own(&self, images: usize) -> Range<usize> {
        let mixes = self.augment.iter().any(|step| matches!(step, Augment::Mixup { .. }));
        let own = |(rank, ranks)| shares::images_of(shares::of_rank(shares::count(images), rank, ranks), images);
        let own = self.part.filter(|_| !mixes).map_or(0..images, own);
        // Who has none makes one: an empty batch is nothing that can be prepared.
        if own.is_empty() { 0..images.min(1) } else { own }
    }

    /// Reads images, and changes those that are changed before they are prepared.
    fn read(&self, epoch: u32, drawn: &[Drawn]) -> Result<Values> {
        let (steps, dims) = (augment::stages(&self.augment).0, self.set.images.dims);
        let from = augment::read_dims(steps, &self.set);
        let images = self.set.values_of(drawn.iter().map(|drawn| drawn.item as usize), from)?;
        Ok(match images {
            Values::Bytes(bytes) if !steps.is_empty() => {
                let draws = |image: usize| self.draws(Purpose::Pictures, epoch, drawn[image]);
                Values::Bytes(augment::pictures(steps, (from, dims), &bytes, draws))
            }
            other => other,
        })
    }

    /// Returns what is drawn for an image of an epoch. A flip that alternates is drawn once for all epochs; an image
    /// that comes twice in an epoch comes both ways.
    fn draws(&self, purpose: Purpose, epoch: u32, drawn: Drawn) -> Draws {
        let first = stream(self.seed, Purpose::Flip, 0, drawn.item).below(2);
        let turns = first.wrapping_add(epoch).wrapping_add(drawn.again);
        Draws { random: self.random(purpose, epoch, drawn), mirrored: turns % 2 == 1 }
    }

    /// Returns the random numbers of an image of an epoch.
    fn random(&self, purpose: Purpose, epoch: u32, drawn: Drawn) -> Stream {
        stream(self.seed, purpose, epoch, drawn.item).part(drawn.again)
    }

    /// Starts a thread that makes the batches of this and all later epochs, from a given batch on, until the reader is
    /// dropped.
    pub fn start(&self, epoch: u32, batch: usize) -> Result<Reader> {
        self.spawn(epoch, batch, u32::MAX)
    }

    /// Gives each batch once, in the order of the data set if it is not shuffled.
    pub fn once(&self) -> Result<Reader> {
        self.spawn(0, 0, 1)
    }

    fn spawn(&self, start: u32, first: usize, end: u32) -> Result<Reader> {
        let source = self.clone();
        let (sender, receiver) = sync_channel(AHEAD);
        let work = move || {
            let mut first = first;
            for epoch in start..end {
                let order = source.order(epoch);
                for items in order.chunks(source.batch).skip(first) {
                    let made = source.make(epoch, items);
                    let failed = made.is_err();
                    // The reader is gone: nobody wants more.
                    if sender.send(made).is_err() || failed {
                        return;
                    }
                }
                first = 0;
            }
        };
        let thread = std::thread::Builder::new().name("batches".into()).spawn(work);
        thread.map_err(|e| Error::new(format!("cannot start a thread for loading: {e}")))?;
        Ok(Reader { receiver })
    }
}

/// The batches as they come.
pub struct Reader {
    receiver: Receiver<Result<Batch>>,
}

impl Reader {
    /// Takes the next batch of a training, which ends before its batches do.
    pub fn take_next(&mut self) -> Result<Batch> {
        self.next().ok_or_else(|| Error::new("the thread that loads the data has died"))?
    }
}

impl Iterator for Reader {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        self.receiver.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_image_once_and_can_start_in_the_middle() {
        let set = crate::data::digits::load().expect("embedded").test;
        let plain = Source::plain(&set, None, 50).expect("nothing to prepare");
        let source = Source { augment: vec![Augment::Flip], shuffle: true, seed: 1, ..plain };
        assert_eq!(source.batches(), 8);
        let all: Vec<Batch> = source.once().expect("starts").map(|b| b.expect("made")).collect();
        assert_eq!(all.iter().map(|b| b.labels.len()).collect::<Vec<_>>(), [50, 50, 50, 50, 50, 50, 50, 10]);
        let later: Vec<Batch> = source.start(0, 3).expect("starts").take(6).map(|b| b.expect("made")).collect();
        assert_eq!(later[..5], all[3..]);
        let next = source.start(1, 0).expect("starts").next().expect("one").expect("made");
        assert_eq!(later[5], next);
        assert_ne!(next, all[0]);
    }
}
