//! How values enter and leave a program's memory: names, sizes, and the order of dimensions.

use crate::plan::{DType, Place, Plan, Port};
use crate::tensor::{convert_to_memory, from_memory};
use crate::threads::Pool;
use crate::{Error, Feed, Result, Tensor};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Elements of an input from which on several threads copy it.
const LARGE: usize = 1 << 16;

/// Checks that sizes of the plan's buffers and their places fit together, so that no access of the executor can go
/// astray.
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
    for sum in plan.shares.iter().flat_map(|shares| &shares.sums) {
        let whole = sum.begin <= sum.last && sum.last < plan.launches.len();
        if !whole || plan.buffers.get(sum.buffer).is_none_or(|b| b.per_image > 0) {
            return wrong("a sum over the shares of something else".into());
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
        if bytes != port.bytes() || !order.into_iter().eq(0..port.dims.len()) {
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

/// Copies a parameter's value into its memory, if it fits the parameter.
pub(crate) fn parameter(port: &Port, value: &Tensor, memory: &mut [u8]) -> Result<()> {
    if value.dims != port.dims || value.data.len() != port.elements() {
        let message = format!("{} has the shape {:?}, the given value {:?}", port.name, port.dims, value.dims);
        return Err(Error::new(message).with_help("the weights belong to another network"));
    }
    match port.dtype {
        DType::F32 => store(port, &value.data, memory, f32::to_ne_bytes),
        DType::I32 => store(port, &value.data, memory, |v| (v as i32).to_ne_bytes()),
        DType::U8 => store(port, &value.data, memory, |v| [v as u8]),
    }
    Ok(())
}

/// Returns the dimensions of a value for a batch.
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
    /// Makes a call, all of whose inputs are fed.
    pub fn new(plan: &'p Plan, batch: usize, inputs: &[(&str, Feed<'f>)], outputs: &[&str]) -> Result<Call<'p, 'f>> {
        Call::without(plan, batch, inputs, outputs, &[])
    }

    /// Makes a call; the inputs `early` are there already and need not be fed.
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

    /// Returns the part of each feed that a run of these images takes.
    pub fn feeds(&self, images: Range<usize>) -> impl Iterator<Item = (&'p Port, Feed<'f>)> {
        self.feeds.iter().map(move |&(port, feed)| (port, part(port, feed, images.clone())))
    }

    /// Returns the part of each result that a run of these images fills.
    pub fn results(&mut self, images: Range<usize>) -> impl Iterator<Item = (&'p Port, &mut [f32])> {
        self.results.iter_mut().map(move |(port, tensor)| {
            let size = port.elements();
            let part = if port.batched { images.start * size..images.end * size } else { 0..size };
            (*port, &mut tensor.data[part])
        })
    }

    /// Returns the results, in the order in which they were asked for.
    pub fn into_results(self) -> Vec<Tensor> {
        self.results.into_iter().map(|(_, tensor)| tensor).collect()
    }
}

/// Finds the inputs of these feeds, each of the right type and size.
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
        if feed.dtype() != port.dtype {
            return Err(Error::new(format!("the input {} takes {}", port.name, port.dtype.elements())));
        }
        let len = feed.len();
        let wanted = dims(port, batch).iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        if wanted != Some(len) {
            let message = format!("the input {} takes the shape {:?}, fed {len} numbers", port.name, dims(port, batch));
            return Err(Error::new(message));
        }
        feeds.push((port, *feed));
    }
    Ok(feeds)
}

/// Returns the part of a feed that a run of these images takes.
pub(crate) fn part<'f>(port: &Port, feed: Feed<'f>, images: Range<usize>) -> Feed<'f> {
    if port.batched { slice(feed, port.elements(), images.start, images.len()) } else { feed }
}

/// Returns images `first..first + count` of a feed.
fn slice(feed: Feed<'_>, elements: usize, first: usize, count: usize) -> Feed<'_> {
    let range = first * elements..(first + count) * elements;
    match feed {
        Feed::F32(data) => Feed::F32(&data[range]),
        Feed::I32(data) => Feed::I32(&data[range]),
        Feed::U8(data) => Feed::U8(&data[range]),
    }
}

/// Copies all images of a feed into memory, by several threads if there is much to do.
pub(crate) fn feed_images(threads: &Pool, port: &Port, feed: Feed, memory: &mut [u8]) -> Result<()> {
    let size = port.elements();
    let images = memory.len().checked_div(port.bytes()).unwrap_or(0);
    if images < 2 || images * size < LARGE || threads.count() == 1 {
        self::feed(port, feed, memory);
        return Ok(());
    }
    let mut parts = Vec::new();
    let mut rest = memory;
    let mut first = 0;
    for worker in 1..=threads.count() {
        let end = images * worker / threads.count();
        let (part, others) = rest.split_at_mut((end - first) * port.bytes());
        parts.push((slice(feed, size, first, end - first), part));
        (rest, first) = (others, end);
    }
    threads.each(parts, &|(feed, memory)| self::feed(port, *feed, memory))
}

/// Copies a group's images, and what all images share, into a thread's memory.
pub(super) fn feed_group(plan: &Plan, call: &Mutex<&mut Call>, images: &Range<usize>, memory: &mut [u8]) {
    let feeds: Vec<_> = call.lock().unwrap_or_else(PoisonError::into_inner).feeds(images.clone()).collect();
    for (port, feed) in feeds {
        let start = plan.start(port.buffer, images.len()).1;
        self::feed(port, feed, &mut memory[start..][..plan.bytes(port.buffer, images.len())]);
    }
}

/// Copies a group's results from a thread's memory.
pub(super) fn fetch_group(plan: &Plan, call: &Mutex<&mut Call>, images: Range<usize>, memory: &[u8]) {
    let count = images.len();
    let mut call = call.lock().unwrap_or_else(PoisonError::into_inner);
    for (port, result) in call.results(images).filter(|(port, _)| port.batched) {
        let start = plan.start(port.buffer, count).1;
        self::fetch(port, &memory[start..][..plan.bytes(port.buffer, count)], result);
    }
}

/// Copies a feed (any number of images) into memory.
pub(crate) fn feed(port: &Port, feed: Feed, memory: &mut [u8]) {
    match feed {
        Feed::F32(data) => store(port, data, memory, f32::to_ne_bytes),
        Feed::I32(data) => store(port, data, memory, i32::to_ne_bytes),
        Feed::U8(data) => store(port, data, memory, |v| [v]),
    }
}

fn store<T: Copy, const N: usize>(port: &Port, data: &[T], memory: &mut [u8], bytes: impl Fn(T) -> [u8; N]) {
    let size = port.elements();
    if size == 0 {
        return;
    }
    let memory = memory.as_chunks_mut::<N>().0;
    for (from, to) in data.chunks_exact(size).zip(memory.chunks_exact_mut(size)) {
        match together(port) {
            Some(1) => to.iter_mut().zip(from).for_each(|(to, from)| *to = bytes(*from)),
            // A number of channels that is a constant makes one pass of it.
            Some(3) => interleave::<_, _, 3>(from, to, &bytes),
            Some(4) => interleave::<_, _, 4>(from, to, &bytes),
            Some(channels) => {
                for (channel, plane) in from.chunks_exact(size / channels).enumerate() {
                    for (value, pixel) in plane.iter().zip(to.chunks_exact_mut(channels)) {
                        pixel[channel] = bytes(*value);
                    }
                }
            }
            None => convert_to_memory(&port.dims, &port.order, from, to, &bytes),
        }
    }
}

/// Returns how many channels lie together in memory, where a value is a picture: the usual case, and much data. 1 where
/// memory has the logical order.
fn together(port: &Port) -> Option<usize> {
    match (port.dims.as_slice(), port.order.as_slice()) {
        (&[channels, ..], [1, 2, 0]) => Some(channels),
        (_, order) => order.iter().copied().eq(0..order.len()).then_some(1),
    }
}

/// Copies planes to pixels of `C` channels.
fn interleave<T: Copy, U, const C: usize>(from: &[T], to: &mut [U], convert: impl Fn(T) -> U) {
    let pixels = to.as_chunks_mut::<C>().0;
    let planes: [&[T]; C] = std::array::from_fn(|c| &from[c * pixels.len()..][..pixels.len()]);
    for (i, pixel) in pixels.iter_mut().enumerate() {
        for (value, plane) in pixel.iter_mut().zip(planes) {
            *value = convert(plane[i]);
        }
    }
}

/// Copies pixels of `C` channels to planes.
fn separate<T: Copy, U, const C: usize>(from: &[T], to: &mut [U], convert: impl Fn(T) -> U) {
    let pixels = from.as_chunks::<C>().0;
    let (mut planes, mut rest) = (Vec::with_capacity(C), to);
    for _ in 0..C {
        let (plane, others) = rest.split_at_mut(pixels.len());
        planes.push(plane);
        rest = others;
    }
    let Ok(mut planes) = <[&mut [U]; C]>::try_from(planes) else { return };
    for (i, pixel) in pixels.iter().enumerate() {
        for (plane, value) in planes.iter_mut().zip(pixel) {
            plane[i] = convert(*value);
        }
    }
}

/// Copies memory (any number of images) to numbers in logical order.
pub(crate) fn fetch(port: &Port, memory: &[u8], data: &mut [f32]) {
    match port.dtype {
        DType::F32 => load(port, memory, data, f32::from_ne_bytes),
        DType::I32 => load(port, memory, data, |b| i32::from_ne_bytes(b) as f32),
        DType::U8 => load(port, memory, data, |[b]: [u8; 1]| f32::from(b)),
    }
}

fn load<const N: usize>(port: &Port, memory: &[u8], data: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let size = port.elements();
    if size == 0 {
        return;
    }
    let images = memory.as_chunks::<N>().0.chunks_exact(size).zip(data.chunks_exact_mut(size));
    for (from, to) in images {
        match together(port) {
            Some(1) => to.iter_mut().zip(from).for_each(|(to, from)| *to = number(*from)),
            Some(3) => separate::<_, _, 3>(from, to, &number),
            Some(4) => separate::<_, _, 4>(from, to, &number),
            Some(channels) => {
                for (channel, plane) in to.chunks_exact_mut(size / channels).enumerate() {
                    for (value, pixel) in plane.iter_mut().zip(from.chunks_exact(channels)) {
                        *value = number(pixel[channel]);
                    }
                }
            }
            None => {
                let from: Vec<f32> = from.iter().map(|b| number(*b)).collect();
                from_memory(&port.dims, &port.order, &from, to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Role;

    #[test]
    fn pictures_come_back_as_they_went() {
        for channels in [1, 2, 3, 4, 5] {
            let (dims, order, size) = (vec![channels, 4, 5], vec![1, 2, 0], channels * 20);
            let (name, role, dtype) = ("x".to_string(), Role::Image, DType::F32);
            let port = Port { name, role, dtype, batched: true, dims, order, buffer: 0 };
            let pictures: Vec<f32> = (0..2 * size).map(|i| i as f32).collect();
            let (mut memory, mut back) = (vec![0; 8 * size], vec![0.0; 2 * size]);
            feed(&port, Feed::F32(&pictures), &mut memory);
            fetch(&port, &memory, &mut back);
            assert_eq!(back, pictures);
            let numbers: Vec<f32> = memory.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect();
            let mut general = vec![0.0; size];
            from_memory(&port.dims, &port.order, &numbers[..size], &mut general);
            assert_eq!(general, pictures[..size]);
            // As bytes in the same order.
            let port = Port { dtype: DType::U8, ..port };
            let bytes: Vec<u8> = (0..2 * size).map(|i| i as u8).collect();
            let mut memory = vec![0; 2 * size];
            feed(&port, Feed::U8(&bytes), &mut memory);
            assert!(memory.iter().zip(&numbers).all(|(byte, number)| f32::from(*byte) == *number));
        }
    }
}
