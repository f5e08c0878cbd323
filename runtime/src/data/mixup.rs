//! Mixup (Zhang, Cisse, Dauphin & Lopez-Paz, 2018): a batch is mixed with a permutation of itself, images and labels
//! alike.

use super::Values;
use super::batches::Batch;
use crate::philox::Stream;

/// What a mixed batch knows besides its images.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixed {
    /// Label of the image that is mixed into each.
    pub partners: Vec<i32>,
    /// The part of each image that is its own, the same for the whole batch as in the paper.
    pub share: f32,
}

/// Mixes a batch by Beta(alpha, alpha). The larger part stays the image's own, so that its label is still what it shows
/// most.
pub fn mix(batch: &mut Batch, alpha: f64, random: &mut Stream) {
    let (a, b) = (gamma(alpha, random), gamma(alpha, random));
    // Both may round to 0 where alpha is tiny: then nothing is mixed.
    let part = if a + b > 0.0 { a / (a + b) } else { 1.0 };
    let share = part.max(1.0 - part) as f32;
    let mut order: Vec<usize> = (0..batch.labels.len()).collect();
    random.shuffle(&mut order);
    let own = std::mem::replace(&mut batch.images, Values::Bytes(vec![])).into_floats();
    let size = own.len() / order.len().max(1);
    let mut mixed = own.clone();
    for (image, &other) in mixed.chunks_exact_mut(size.max(1)).zip(&order) {
        for (v, o) in image.iter_mut().zip(&own[other * size..][..size]) {
            *v = share * *v + (1.0 - share) * o;
        }
    }
    batch.images = Values::Floats(mixed);
    let partners = order.iter().map(|&other| batch.labels[other]).collect();
    batch.partner_weights = order.iter().map(|&other| (1.0 - share) * batch.weights[other]).collect();
    batch.weights.iter_mut().for_each(|weight| *weight *= share);
    batch.mixed = Some(Mixed { partners, share });
}

/// Gamma(shape, 1) by Marsaglia and Tsang (2000); shapes below 1 by their boost.
fn gamma(shape: f64, random: &mut Stream) -> f64 {
    let unit = |random: &mut Stream| (f64::from(random.word()) + 0.5) / 4_294_967_296.0;
    if shape < 1.0 {
        let boost = unit(random).powf(1.0 / shape);
        return gamma(shape + 1.0, random) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = f64::from(random.normal());
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && unit(random).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_has_its_mean_and_variance() {
        for shape in [0.2, 1.0, 4.5] {
            let mut random = Stream::new(1, 2, 3);
            let draws: Vec<f64> = (0..20_000).map(|_| gamma(shape, &mut random)).collect();
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 20_000.0;
            assert!(
                (mean / shape - 1.0).abs() < 0.05 && (variance / shape - 1.0).abs() < 0.1,
                "{shape} {mean} {variance}"
            );
        }
    }

    #[test]
    fn images_and_labels_are_mixed_alike() {
        // An image of one pixel that holds its label.
        let labels: Vec<i32> = (0..10).collect();
        let images = Values::Bytes(labels.iter().map(|&l| l as u8).collect());
        let mut batch = Batch::new(images, labels);
        batch.weights = (0..10).map(|l| l as f32).collect();
        mix(&mut batch, 0.4, &mut Stream::new(5, 0, 0));
        let mixed = batch.mixed.clone().expect("mixed");
        assert!((0.5..=1.0).contains(&mixed.share));
        for ((pixel, own), other) in batch.images.into_floats().iter().zip(&batch.labels).zip(&mixed.partners) {
            let expected = mixed.share * *own as f32 + (1.0 - mixed.share) * *other as f32;
            assert!((pixel - expected).abs() < 1e-5);
        }
        for (i, (own, other)) in batch.weights.iter().zip(&batch.partner_weights).enumerate() {
            let expected = mixed.share * i as f32 + (1.0 - mixed.share) * mixed.partners[i] as f32;
            assert!((own + other - expected).abs() < 1e-5);
        }
        let mut partners = mixed.partners.clone();
        partners.sort_unstable();
        assert_eq!(partners, batch.labels);
    }
}
