//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator.
//! The state is a seed and counters, so any element of any stream is known without the others.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Ten rounds: four random words for a counter and a key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

/// Key of a step: `[seed low, seed high, step low, step high]`, an input of training programs.
pub type StepKey = [u32; 4];

/// Random word of element `index` of `stream` in a step.
///
/// Elements come in blocks of 64: element `64·b + 16·w + l` is word w of counter `16·b + l`, so that a vector of up to
/// 16 lanes holds one word of consecutive counters. The counter is `(counter low, counter high | stream, step low, step
/// high)`, the key is the seed: counter word 1 is `stream << 8 | counter >> 32`, which leaves 40 bits for the counter.
pub fn element(key: StepKey, stream: u32, index: u64) -> u32 {
    let (block, word, lane) = (index / 64, (index % 64) / 16, index % 16);
    let counter = block * 16 + lane;
    let words = philox([counter as u32, stream << 8 | (counter >> 32) as u32, key[2], key[3]], [key[0], key[1]]);
    words[word as usize]
}

/// A word as a number in [0, 1) with 24 bits.
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A sequential reader of one stream, for work outside kernels: initial weights, shuffling, augmentation.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    /// `[counter low, counter high, a, b]`.
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream named by `a` and `b` (a purpose, an epoch, an image) under a seed.
    pub fn new(seed: u64, a: u32, b: u32) -> Stream {
        Stream { key: [seed as u32, (seed >> 32) as u32], counter: [0, 0, a, b], words: [0; 4], used: 4 }
    }

    /// The part of a stream with this number, for what is drawn several times; the stream itself is part 0.
    pub fn part(self, number: u32) -> Stream {
        // No stream comes to 2^32 blocks.
        Stream { counter: [0, number, self.counter[2], self.counter[3]], ..self }
    }

    /// Draws 32 random bits.
    pub fn word(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox(self.counter, self.key);
            let next = (u64::from(self.counter[1]) << 32 | u64::from(self.counter[0])).wrapping_add(1);
            (self.counter[0], self.counter[1]) = (next as u32, (next >> 32) as u32);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Draws a number in [0, 1), of 24 bits.
    pub fn unit(&mut self) -> f32 {
        unit(self.word())
    }

    /// Draws a number of `0..bound`, uniform without bias (Lemire's method).
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "a range of numbers");
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.word()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Draws a standard normal number, by Box and Muller's transform in f64 (the second number of the pair is dropped).
    pub fn normal(&mut self) -> f32 {
        let u = (f64::from(self.word()) + 1.0) / 4_294_967_296.0;
        let v = f64::from(self.word()) / 4_294_967_296.0;
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the Random123 distribution.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }
}
