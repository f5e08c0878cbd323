//! Which numbers bytes stand for: from a histogram of a value, a scale and the byte for 0, by one of four methods.

/// Bins of a histogram.
const BINS: usize = 2048;
/// Ends that are tried where an error is minimised, as parts of the whole range.
const TRIES: usize = 64;
/// Part of the numbers that the percentile leaves out.
const OUTSIDE: f64 = 1e-5;
/// Bytes in all.
const BYTES: usize = 256;

/// How the range is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// From the smallest number to the largest one.
    MinMax,
    /// Without the outermost 0.001 %.
    Percentile,
    /// The range with the least mean squared error.
    Mse,
    /// The range whose distribution of bytes tells most about that of the numbers (Kullback-Leibler divergence).
    Kl,
}

impl Method {
    /// All methods, in the order in which they are tried.
    pub const ALL: [Method; 4] = [Method::MinMax, Method::Percentile, Method::Mse, Method::Kl];

    /// The method's word.
    pub fn name(self) -> &'static str {
        match self {
            Method::MinMax => "min-max",
            Method::Percentile => "percentile",
            Method::Mse => "mse",
            Method::Kl => "kl",
        }
    }
}

/// A value's bytes: `scale · (byte - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// From byte to byte.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero: u8,
}

impl Coding {
    /// Bytes that stand for themselves.
    pub const PLAIN: Coding = Coding { scale: 1.0, zero: 0 };
}

/// How often a value had which numbers. Ends come first, then the counts of a second look.
#[derive(Clone, Debug)]
pub struct Histogram {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        // A range always holds 0, which has a byte of its own.
        Histogram { low: 0.0, high: 0.0, counts: vec![0; BINS] }
    }
}

impl Histogram {
    /// Widens the ends to these numbers.
    pub fn widen(&mut self, numbers: &[f32]) {
        for &v in numbers {
            self.low = self.low.min(v);
            self.high = self.high.max(v);
        }
    }

    /// Counts these numbers, which lie within the ends.
    pub fn count(&mut self, numbers: &[f32]) {
        let per_number = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for &v in numbers {
            let bin = ((v - self.low) * per_number) as usize;
            self.counts[bin.min(BINS - 1)] += 1;
        }
    }

    /// The bytes by a method.
    pub fn coding(&self, method: Method) -> Coding {
        let [low, high] = match method {
            Method::MinMax => [self.low, self.high],
            Method::Percentile => self.percentile(),
            Method::Mse => self.best(|low, high| self.squared_error(low, high)),
            Method::Kl => self.best(|low, high| self.divergence(low, high)),
        };
        coding(low, high)
    }

    fn width(&self) -> f64 {
        f64::from(self.high - self.low) / BINS as f64
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        f64::from(self.low) + (bin as f64 + 0.5) * self.width()
    }

    fn percentile(&self) -> [f32; 2] {
        let total: u64 = self.counts.iter().sum();
        let most = (total as f64 * OUTSIDE) as u64;
        let left = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut passed = 0;
            counts
                .take_while(|&&count| {
                    passed += count;
                    passed <= most
                })
                .count()
        };
        let (below, above) = (left(&mut self.counts.iter()), left(&mut self.counts.iter().rev()));
        let low = f64::from(self.low) + below as f64 * self.width();
        let high = f64::from(self.high) - above as f64 * self.width();
        [low.min(0.0) as f32, high.max(0.0) as f32]
    }

    /// The range with the least error; both ends shrink alike.
    fn best(&self, error: impl Fn(f64, f64) -> f64) -> [f32; 2] {
        let mut best = (f64::INFINITY, [self.low, self.high]);
        for part in (TRIES / 4..=TRIES).rev().map(|i| i as f64 / TRIES as f64) {
            let [low, high] = [self.low, self.high].map(|end| f64::from(end) * part);
            let error = error(low, high);
            if error < best.0 {
                best = (error, [low as f32, high as f32]);
            }
        }
        best.1
    }

    fn squared_error(&self, low: f64, high: f64) -> f64 {
        let Coding { scale, zero } = coding(low as f32, high as f32);
        let (scale, zero) = (f64::from(scale), f64::from(zero));
        let error = |(bin, &count): (usize, &u64)| {
            let v = self.middle(bin);
            let byte = ((v / scale).round() + zero).clamp(0.0, 255.0);
            let apart = v - (byte - zero) * scale;
            // Numbers are spread over their bin, and over their byte where bytes are narrower.
            count as f64 * (apart * apart + self.width().powi(2) / 12.0)
        };
        self.counts.iter().enumerate().map(error).sum()
    }

    /// Divergence of the numbers from what is left when those of a byte are alike; numbers outside go to the ends.
    fn divergence(&self, low: f64, high: f64) -> f64 {
        let Coding { scale, zero } = coding(low as f32, high as f32);
        let byte = |bin: usize| {
            let byte = (self.middle(bin) / f64::from(scale)).round() + f64::from(zero);
            byte.clamp(0.0, 255.0) as usize
        };
        let (mut sums, mut bins) = ([0u64; BYTES], [0u64; BYTES]);
        let inside = |v: f64| v >= low - f64::from(scale) && v <= high + f64::from(scale);
        // Without the first bin of zeros, which a ReLU makes and every range has.
        let own = |bin: usize| self.counts[bin] as f64;
        let mut clipped = self.counts.iter().map(|&c| c as f64).collect::<Vec<f64>>();
        let (first, last) = ((0..BINS).find(|&b| inside(self.middle(b))), (0..BINS).rfind(|&b| inside(self.middle(b))));
        let (Some(first), Some(last)) = (first, last) else { return f64::INFINITY };
        for bin in 0..BINS {
            if bin < first {
                clipped[first] += own(bin);
            } else if bin > last {
                clipped[last] += own(bin);
            } else if self.counts[bin] > 0 {
                sums[byte(bin)] += self.counts[bin];
                bins[byte(bin)] += 1;
            }
        }
        let total: f64 = clipped[first..=last].iter().sum();
        let kept: f64 = sums.iter().map(|&s| s as f64).sum();
        if total == 0.0 || kept == 0.0 {
            return f64::INFINITY;
        }
        let term = |bin: usize| {
            let p = clipped[bin] / total;
            let (sum, count) = (sums[byte(bin)] as f64, bins[byte(bin)] as f64);
            let q = if count > 0.0 && self.counts[bin] > 0 { sum / count / kept } else { 1e-9 };
            if p > 0.0 { p * (p / q).ln() } else { 0.0 }
        };
        (first..=last).map(term).sum()
    }
}

/// The bytes of a range that holds 0.
fn coding(low: f32, high: f32) -> Coding {
    let scale = (high - low) / 255.0;
    if !(scale > f32::MIN_POSITIVE) {
        return Coding::PLAIN;
    }
    Coding { scale, zero: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thousand numbers of 0 to 1, and one far outside.
    fn outlier() -> Histogram {
        let mut numbers: Vec<f32> = (0..100_000).map(|i| i as f32 / 1e5).collect();
        numbers.push(40.0);
        let mut histogram = Histogram::default();
        histogram.widen(&numbers);
        histogram.count(&numbers);
        histogram
    }

    #[test]
    fn a_range_holds_0_exactly() {
        assert_eq!(coding(0.0, 2.55), Coding { scale: 2.55 / 255.0, zero: 0 });
        assert_eq!(coding(-1.0, 1.04).zero, 125);
        assert_eq!(coding(-0.5, 2.05).zero, 50);
        assert_eq!(coding(0.0, 0.0), Coding { scale: 1.0, zero: 0 });
    }

    #[test]
    fn methods_weigh_an_outlier_differently() {
        let top = |method| 255.0 * outlier().coding(method).scale;
        assert_eq!(top(Method::MinMax), 40.0);
        assert!(top(Method::Percentile) < 1.1, "{}", top(Method::Percentile));
        assert!(top(Method::Mse) <= 40.0 && top(Method::Kl) < 40.0, "{} {}", top(Method::Mse), top(Method::Kl));
    }
}
