//! The records that a library's driver reads and writes: their fields, in the order in which they lie in memory.
//!
//! This table is the only place that knows them. `image` fills the structures, and the driver's text gets for each
//! field the constant `RECORD_FIELD` with its offset in bytes, and `RECORD_BYTES` with the size of the whole record.
//! A field is a 64-bit word or an array of them. Names that end in `_at` are offsets from the start of the plan image.

/// The most dimensions of a value.
pub const RANK: usize = 8;

/// Words of a field.
trait Words {
    fn words(&self) -> &[u64];
}

impl Words for u64 {
    fn words(&self) -> &[u64] {
        std::slice::from_ref(self)
    }
}

impl<const N: usize> Words for [u64; N] {
    fn words(&self) -> &[u64] {
        self
    }
}

/// A record as it lies in memory.
pub trait Record {
    /// Its size in bytes.
    const BYTES: usize;
    /// The record's bytes, little-endian.
    fn bytes(&self) -> Vec<u8>;
}

macro_rules! records {
    ($($(#[$about:meta])* $record:ident { $($(#[$note:meta])* $field:ident: $ty:ty,)* })*) => {
        $(
            $(#[$about])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default)]
            pub struct $record {
                $(
                    $(#[$note])*
                    #[doc = concat!("Field `", stringify!($field), "` of the driver's record.")]
                    pub $field: $ty,
                )*
            }

            impl Record for $record {
                const BYTES: usize = size_of::<$record>();

                fn bytes(&self) -> Vec<u8> {
                    let mut bytes = Vec::new();
                    $(self.$field.words().iter().for_each(|word| bytes.extend(word.to_le_bytes()));)*
                    bytes
                }
            }
        )*

        /// The constants of all records for the driver's text.
        pub fn constants() -> Vec<(String, i64)> {
            let mut all = Vec::new();
            $(
                let record = stringify!($record).to_uppercase();
                $(
                    let field = stringify!($field).to_uppercase();
                    all.push((format!("{record}_{field}"), std::mem::offset_of!($record, $field) as i64));
                )*
                all.push((format!("{record}_BYTES"), $record::BYTES as i64));
            )*
            all
        }
    };
}

records! {
    /// A plan: the first record of an image.
    Plan {
        /// Bytes of memory that live as long as the handle.
        persistent: u64,
        /// Bytes of the arena: `fixed + image * images`.
        fixed: u64,
        image: u64,
        /// The most images in one run of the launches; 0 for any number.
        group: u64,
        /// The most images that are fed at the same time; 0 for any number.
        chunk: u64,
        /// Scratch bytes of each thread.
        scratch: u64,
        /// Bytes to prepare one picture in.
        staging: u64,
        /// Bytes of the largest parameter.
        largest: u64,
        /// Launches that prepare weights: at creation, or at the start of each run if `prepare_each_run`.
        prepare: u64,
        prepare_at: u64,
        prepare_each_run: u64,
        launches: u64,
        launches_at: u64,
        /// Launches from this one on wait for the last group of a batch.
        finish: u64,
        /// Predicted cycles of a run, `work + work_image * images`, and those for which one more thread pays.
        work: u64,
        work_image: u64,
        worth: u64,
        inputs: u64,
        inputs_at: u64,
        outputs: u64,
        outputs_at: u64,
        params: u64,
        params_at: u64,
        /// Tensors of the preparation that come with the weights.
        fitted: u64,
        fitted_at: u64,
        fitted_bytes: u64,
        /// How many steps the preparation has.
        steps: u64,
        /// What the weights' header says of the preparation.
        prepare_text: u64,
        /// What the weights' header says of the formats of layers, or how it would begin to, and 1 if it says so.
        formats_text: u64,
        formats: u64,
        /// Shape of pictures; 0 where the network takes none.
        channels: u64,
        height: u64,
        width: u64,
        /// How pictures are read: 1 where the middle is cut out, 1 for grey by Rec. 709, the background as 0xRRGGBB.
        crop: u64,
        rec709: u64,
        background: u64,
        classes: u64,
        classes_at: u64,
        /// Offset of the plan for batches of at most `most` images; 0 where there is none.
        small_batch: u64,
        most: u64,
        /// Training: the seed, the number of classes, which output the loss is.
        seed: u64,
        labels: u64,
        loss: u64,
        /// The header of a weights file, and the tensors behind it.
        header: u64,
        header_at: u64,
        saves: u64,
        saves_at: u64,
    }

    /// A launch: a kernel with its buffers, run for `fixed + each * ceil(n / images)` iterations, where n
    /// is the number of images in the run.
    Launch {
        kernel: u64,
        fixed: u64,
        each: u64,
        images: u64,
        buffers: u64,
        buffers_at: u64,
    }

    /// A launch's buffer: in which memory it lies (`PLACE_…`) and where.
    Buffer {
        kind: u64,
        offset: u64,
    }

    /// An input, an output, a parameter, or a tensor of the preparation, which uses the first five fields and
    /// `offset` only.
    Port {
        /// Its name, and the texts of a weights file in front of its type, behind that, and in front of its checksum.
        name: u64,
        entry: u64,
        shape: u64,
        sum: u64,
        elements: u64,
        /// The memory that it lies in, as in `Buffer`.
        kind: u64,
        offset: u64,
        /// 1 if there is one for each image.
        batched: u64,
        /// What it is fed by in training (`FEED_…`), and the number for those that are fed by one (bits of an `f64`).
        feed: u64,
        value: u64,
        rank: u64,
        dims_at: u64,
        /// The size of each dimension in the order of memory, and its stride in the logical order. Ones and zeros in
        /// front.
        sizes: [u64; RANK],
        strides: [u64; RANK],
    }

    /// A tensor of the weights file that a training library writes.
    Save {
        /// Its `Port`.
        record: u64,
        /// 1 if it belongs to the preparation.
        fitted: u64,
        /// Where its checksum is in the header.
        sum: u64,
    }

    /// What a program holds as its network. Made at run time, like all below.
    Handle {
        plan: u64,
        persistent: u64,
        fitted: u64,
        /// The plan that prepares pictures, 0 where the network takes none, and its memory.
        preparation: u64,
        prepared: u64,
        /// Its `Team`, 0 before the first run with several threads.
        team: u64,
    }

    /// One piece of work for all threads. The first three words are what kernels get as their variables.
    Region {
        batch: u64,
        first: u64,
        total: u64,
        plan: u64,
        persistent: u64,
        arena: u64,
        scratch: u64,
        /// 1: prepare weights first; 2: do nothing else.
        prepare: u64,
        /// Only where weights are read: the loader, whose handle it fills, spare bytes of each thread, the next tensor.
        loader: u64,
        handle: u64,
        room: u64,
        next: u64,
        status: u64,
    }

    /// Threads that wait for a handle's next run. What one thread writes while others poll lies in a cache line of
    /// its own.
    Team {
        /// The handle, or 0 for a free record.
        owner: u64,
        /// 1 while a run uses it.
        lock: u64,
        /// The `Worker`s, and how many threads there are with the caller's.
        workers: u64,
        threads: u64,
        /// How often a waiting thread polls before it yields.
        spins: u64,
        /// What its threads sleep by, where that needs memory.
        place: u64,
        apart: [u64; 2],
        /// Changes with each region: `number << 12 | threads`. How many sleep until it does, and the region.
        go: u64,
        idle: u64,
        task: u64,
        apart_1: [u64; 5],
        /// Threads at the barrier.
        arrived: u64,
        apart_2: [u64; 7],
        /// Barriers passed, and how many sleep until it changes.
        phase: u64,
        resting: u64,
        apart_3: [u64; 6],
    }

    /// What a thread of a team starts with.
    Worker {
        team: u64,
        index: u64,
        /// The team's `go` when it was started.
        seen: u64,
        thread: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_places_in_the_bytes() {
        let port = Port { elements: 7, strides: [1, 2, 3, 4, 5, 6, 7, 8], ..Port::default() };
        let (bytes, all) = (port.bytes(), constants());
        let at = |name: &str| all.iter().find(|(n, _)| n == name).expect("a constant").1 as usize;
        assert_eq!((bytes.len(), bytes[at("PORT_ELEMENTS")]), (at("PORT_BYTES"), 7));
        assert_eq!(bytes[at("PORT_STRIDES") + 8 * 7], 8);
        // Teams are found by multiples, so cache lines are apart only if a team is some of them.
        assert_eq!((at("TEAM_BYTES") % 64, at("TEAM_GO") % 64, at("TEAM_PHASE") % 64), (0, 0, 0));
    }
}
