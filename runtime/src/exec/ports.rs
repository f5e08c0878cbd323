//! How values enter and leave a program's memory: names, sizes, and the order of dimensions.

use super::floats;
use crate::plan::{Place, Plan, Port};
use crate::tensor::{convert_to_memory, from_memory};
use crate::threads::Pool;
use crate::{Error, Feed, Result, Tensor};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Elements from which on feeding is worth waking threads.
const LARGE: usize = 1 << 16;

/// Sizes of the plan's buffers and places fit together, so that no access of the executor can go astray.
pub(crate) fn check(plan: &Plan) -> Result<()> {
    let wrong = |what: String| Err(Error::new(format!("the plan {} is damaged: {what}", plan.name)));
    for buffer in &plan.buffers {
        let (offset, bytes, room) = match buffer.place {
            Place::Persistent { offset } => (offset, buffer.fixed, plan.persistent_bytes),
            Place::Fixed { offset } => (offset, buffer.fixed, plan.fixed_bytes),
            Place::PerImage { offset } => (offset, buffer.per_image, plan.image_bytes),
        };
        let mixed = buffer.per_image > 0 && !matches!(buffer.place, Place::PerImage { .. })
            || buffer.fixed > 0 && matches!(buffer.place, Place::PerImage { .. });
        if mixed || offset % 64 != 0 || offset.checked_add(bytes).is_none_or(|end| end > room) {
            return wrong(format!("{} lies outside of its memory", buffer.name));
        }
    }
    if !plan.fixed_bytes.is_multiple_of(64) || !plan.image_bytes.is_multiple_of(64) {
        return wrong("its memory is not aligned".into());
    }
    for launch in plan.every_launch() {
        let known = launch.kernel < plan.kernels.len() && launch.buffers.iter().all(|&b| b < plan.buffers.len());
        if !known || launch.iterations.images == 0 {
            return wrong("a launch of something that does not exist".into());
        }
    }
    for &(launch, buffer) in plan.all_reduces.iter().chain(&plan.accumulates) {
        if launch >= plan.launches.len() || plan.buffers.get(buffer).is_none_or(|b| b.per_image > 0) {
            return wrong("a sum over the images of something else".into());
        }
    }
    if plan.group.is_some() && !plan.all_reduces.is_empty() {
        return wrong("groups of images in a batch that devices share".into());
    }
    for port in plan.inputs.iter().chain(&plan.outputs).chain(&plan.params) {
        let Some(buffer) = plan.buffers.get(port.buffer) else { return wrong(format!("{} has no buffer", port.name)) };
        let bytes = if port.batched { buffer.per_image } else { buffer.fixed };
        let mut order = port.order.clone();
        order.sort_unstable();
        if bytes != 4 * port.elements() || !order.into_iter().eq(0..port.dims.len()) {
            return wrong(format!("{} does not fit its buffer", port.name));
        }
    }
    Ok(())
}

pub(crate) fn find<'a>(ports: &'a [Port], name: &str, kind: &str) -> Result<&'a Port> {
    ports.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = ports.iter().map(|p| p.name.as_str()).collect();
        Error::new(format!("the program has no {kind} {name}")).with_help(format!("it has: {}", names.join(", ")))
    })
}

/// A parameter's value into its memory, if it fits the parameter.
pub(crate) fn parameter(port: &Port, value: &Tensor, memory: &mut [u8]) -> Result<()> {
    if value.dims != port.dims || value.data.len() != port.elements() {
        let message = format!("{} has the shape {:?}, the given value {:?}", port.name, port.dims, value.dims);
        return Err(Error::new(message).with_help("the weights belong to another network"));
    }
    match port.ints {
        true => store(port, &value.data, memory, |v| (v as i32).to_ne_bytes()),
        false => store(port, &value.data, memory, f32::to_ne_bytes),
    }
    Ok(())
}

/// Dimensions of a value for a batch.
fn dims(port: &Port, batch: usize) -> Vec<usize> {
    let mut dims = port.dims.clone();
    if port.batched {
        dims.insert(0, batch);
    }
    dims
}

/// What one run takes and gives: each input with its feed, and each output asked for with its result.
pub(crate) struct Call<'p, 'f> {
    feeds: Vec<(&'p Port, Feed<'f>)>,
    results: Vec<(&'p Port, Tensor)>,
}

impl<'p, 'f> Call<'p, 'f> {
    pub fn new(plan: &'p Plan, batch: usize, inputs: &[(&str, Feed<'f>)], outputs: &[&str]) -> Result<Call<'p, 'f>> {
        Call::without(plan, batch, inputs, outputs, &[])
    }

    /// The inputs `early` are there already and need not be fed.
    pub fn without(
        plan: &'p Plan,
        batch: usize,
        inputs: &[(&str, Feed<'f>)],
        outputs: &[&str],
        early: &[Port],
    ) -> Result<Call<'p, 'f>> {
        let fed = match_feeds(plan, batch, inputs)?;
        let missing = plan.inputs.iter().find(|port| !early.contains(port) && fed.iter().all(|(fed, _)| fed != port));
        if let Some(port) = missing {
            return Err(Error::new(format!("the input {} is not fed", port.name)));
        }
        let result = |name: &&str| {
            let port = find(&plan.outputs, name, "output")?;
            Ok((port, Tensor::zeros(&dims(port, batch))))
        };
        Ok(Call { feeds: fed, results: outputs.iter().map(result).collect::<Result<_>>()? })
    }

    /// Of each feed what a run of these images takes.
    pub fn feeds(&self, images: Range<usize>) -> impl Iterator<Item = (&'p Port, Feed<'f>)> {
        self.feeds.iter().map(move |&(port, feed)| (port, part(port, feed, images.clone())))
    }

    /// Of each result what a run of these images gives.
    pub fn results(&mut self, images: Range<usize>) -> impl Iterator<Item = (&'p Port, &mut [f32])> {
        self.results.iter_mut().map(move |(port, tensor)| {
            let size = port.elements();
            let part = if port.batched { images.start * size..images.end * size } else { 0..size };
            (*port, &mut tensor.data[part])
        })
    }

    pub fn into_results(self) -> Vec<Tensor> {
        self.results.into_iter().map(|(_, tensor)| tensor).collect()
    }
}

/// The inputs of these feeds, each of the right type and size.
pub(crate) fn match_feeds<'p, 'f>(
    plan: &'p Plan,
    batch: usize,
    inputs: &[(&str, Feed<'f>)],
) -> Result<Vec<(&'p Port, Feed<'f>)>> {
    if batch == 0 {
        return Err(Error::new("an empty batch").with_help("feed at least one image"));
    }
    for (i, (name, _)) in inputs.iter().enumerate() {
        find(&plan.inputs, name, "input")?;
        if inputs[..i].iter().any(|(other, _)| other == name) {
            return Err(Error::new(format!("the input {name} is fed twice")));
        }
    }
    let mut feeds = Vec::new();
    for port in &plan.inputs {
        let Some((_, feed)) = inputs.iter().find(|(name, _)| *name == port.name) else { continue };
        let (len, ints) = match feed {
            Feed::F32(data) => (data.len(), false),
            Feed::I32(data) => (data.len(), true),
        };
        if ints != port.ints {
            let wanted = if port.ints { "integers" } else { "floats" };
            return Err(Error::new(format!("the input {} takes {wanted}", port.name)));
        }
        let wanted = dims(port, batch).iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if wanted != Some(len) {
            let message = format!("the input {} takes the shape {:?}, fed {len} numbers", port.name, dims(port, batch));
            return Err(Error::new(message));
        }
        feeds.push((port, *feed));
    }
    Ok(feeds)
}

/// Of a feed what a run of these images takes.
pub(crate) fn part<'f>(port: &Port, feed: Feed<'f>, images: Range<usize>) -> Feed<'f> {
    if port.batched { slice(feed, port.elements(), images.start, images.len()) } else { feed }
}

/// Images `first..first + count` of a feed.
fn slice(feed: Feed<'_>, elements: usize, first: usize, count: usize) -> Feed<'_> {
    let range = first * elements..(first + count) * elements;
    match feed {
        Feed::F32(data) => Feed::F32(&data[range]),
        Feed::I32(data) => Feed::I32(&data[range]),
    }
}

/// Copies all images of a feed into memory, by several threads if there is much to do.
pub(crate) fn feed_images(threads: &Pool, port: &Port, feed: Feed, memory: &mut [u8]) -> Result<()> {
    let size = port.elements();
    let images = (memory.len() / 4).checked_div(size).unwrap_or(0);
    if images < 2 || memory.len() / 4 < LARGE || threads.count() == 1 {
        self::feed(port, feed, memory);
        return Ok(());
    }
    // Each worker takes the part with its number; the locks are never contended.
    let mut parts = Vec::new();
    let mut rest = memory;
    let mut first = 0;
    for worker in 1..=threads.count() {
        let end = images * worker / threads.count();
        let (part, others) = rest.split_at_mut((end - first) * size * 4);
        parts.push(Mutex::new((slice(feed, size, first, end - first), part)));
        (rest, first) = (others, end);
    }
    threads.run(&|worker| {
        let mut part = parts[worker.index()].lock().unwrap_or_else(PoisonError::into_inner);
        let (feed, memory) = &mut *part;
        self::feed(port, *feed, memory);
    })
}

/// Copies a feed (any number of images) into memory.
pub(crate) fn feed(port: &Port, feed: Feed, memory: &mut [u8]) {
    match feed {
        Feed::F32(data) => store(port, data, memory, f32::to_ne_bytes),
        Feed::I32(data) => store(port, data, memory, i32::to_ne_bytes),
    }
}

fn store<T: Copy>(port: &Port, data: &[T], memory: &mut [u8], bytes: impl Fn(T) -> [u8; 4]) {
    let size = port.elements();
    if size == 0 {
        return;
    }
    let memory = memory.as_chunks_mut::<4>().0;
    for (from, to) in data.chunks_exact(size).zip(memory.chunks_exact_mut(size)) {
        if let (&[c, h, w], [1, 2, 0]) = (port.dims.as_slice(), port.order.as_slice()) {
            // Pictures: the usual case, and much data.
            for channel in 0..c {
                let plane = &from[channel * h * w..][..h * w];
                for (value, pixel) in plane.iter().zip(to.chunks_exact_mut(c)) {
                    pixel[channel] = bytes(*value);
                }
            }
        } else {
            convert_to_memory(&port.dims, &port.order, from, to, &bytes);
        }
    }
}

/// Copies memory (any number of images) to numbers in logical order.
pub(crate) fn fetch(port: &Port, memory: &[u8], data: &mut [f32]) {
    let size = port.elements();
    if size == 0 {
        return;
    }
    let images = memory.chunks_exact(4 * size).zip(data.chunks_exact_mut(size));
    for (from, to) in images {
        let from: Vec<f32> = floats(from, port.ints).collect();
        if let (&[c, h, w], [1, 2, 0]) = (port.dims.as_slice(), port.order.as_slice()) {
            // Pictures, as in `store`.
            for channel in 0..c {
                let plane = &mut to[channel * h * w..][..h * w];
                for (value, pixel) in plane.iter_mut().zip(from.chunks_exact(c)) {
                    *value = pixel[channel];
                }
            }
        } else {
            from_memory(&port.dims, &port.order, &from, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    #[test]
    fn pictures_come_back_as_they_went() {
        let (dims, order) = (vec![3, 4, 5], vec![1, 2, 0]);
        let port = Port { name: "x".into(), role: Role::Image, ints: false, batched: true, dims, order, buffer: 0 };
        let pictures: Vec<f32> = (0..2 * 60).map(|i| i as f32).collect();
        let (mut memory, mut back) = (vec![0; 4 * 120], vec![0.0; 120]);
        feed(&port, Feed::F32(&pictures), &mut memory);
        fetch(&port, &memory, &mut back);
        assert_eq!(back, pictures);
        // The second number in memory is the first pixel of the second channel.
        assert_eq!(memory[4..8], 20.0f32.to_ne_bytes());
        let mut general = vec![0.0; 60];
        let numbers: Vec<f32> = floats(&memory[..240], false).collect();
        from_memory(&port.dims, &port.order, &numbers, &mut general);
        assert_eq!(general, pictures[..60]);
    }
}
