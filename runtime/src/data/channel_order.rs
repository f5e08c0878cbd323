//! Channels in another order than those that weights learned from: blue, green, red (OpenCV's) for red, green, blue.
//!
//! An array does not say its order, and any one picture may have any colour. What many pictures have in common is the
//! colour of their mean: where that is the training data's backwards, the order is backwards, or the pictures are of
//! other colours. So this is never an error, and nothing is said without strong evidence.

/// Fewer images say nothing.
const IMAGES: usize = 16;
/// Standard errors by which the difference of red and blue must be away from what was learned.
const ERRORS: f64 = 6.0;
/// Factor by which the colour must be closer to the learned one backwards than to the learned one.
const CLOSER: f64 = 3.0;

/// The means of the channels of an image `[3, height, width]`.
pub fn means(image: &[f32]) -> [f64; 3] {
    let places = (image.len() / 3).max(1);
    [0, 1, 2].map(|channel| {
        let values = image.iter().skip(channel * places).take(places);
        values.map(|&v| f64::from(v)).sum::<f64>() / places as f64
    })
}

/// The channels' means of images, where their colour looks like the learned one backwards. `learned` are the means of
/// the training data, `images` those of each image.
pub fn backwards(learned: [f64; 3], images: &[[f64; 3]]) -> Option<[f64; 3]> {
    let mean = |of: &dyn Fn(&[f64; 3]) -> f64| images.iter().map(of).sum::<f64>() / images.len() as f64;
    let found = [0, 1, 2].map(|channel| mean(&|image| image[channel]));
    let light = |channels: [f64; 3]| channels.iter().sum::<f64>() / 3.0;
    if images.len() < IMAGES || !(light(found) > 0.0 && light(learned) > 0.0) {
        return None;
    }
    // How bright pictures are says nothing of their order.
    let learned = learned.map(|channel| channel * light(found) / light(learned));
    let (apart, expected) = (found[0] - found[2], learned[0] - learned[2]);
    let variance = mean(&|image| (image[0] - image[2] - apart).powi(2));
    let error = (variance / (images.len() - 1) as f64).sqrt();
    let distance = |of: [f64; 3]| found.iter().zip(of).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let [red, green, blue] = learned;
    let closer = distance([blue, green, red]) * CLOSER < distance(learned);
    (closer && (apart - expected).abs() > ERRORS * error).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::backwards;
    use crate::philox::Stream;

    /// ImageNet's.
    const LEARNED: [f64; 3] = [123.7, 116.8, 103.9];

    /// Images around these means: brighter or darker by a fifth, each with a colour of its own.
    fn images(means: [f64; 3], count: usize) -> Vec<[f64; 3]> {
        let mut random = Stream::new(3, 0, 0);
        let mut one = || {
            let light = 1.0 + 0.2 * f64::from(random.normal());
            means.map(|m| m * (light + 0.1 * f64::from(random.normal())))
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn strong_evidence_alone_is_said() {
        let [red, green, blue] = LEARNED;
        for light in [1.0, 0.5, 1.5] {
            let means = [blue, green, red].map(|m| m * light);
            let found = backwards(LEARNED, &images(means, 300)).expect("backwards");
            assert!(found.iter().zip(means).all(|(a, b)| (a - b).abs() < 0.1 * b), "{found:?}");
        }
        for (means, count) in [
            // As learned; much bluer; a little blue; too few; grey; black.
            (LEARNED, 300),
            ([40.0, 50.0, 90.0], 300),
            ([112.0, 115.0, 114.0], 300),
            ([blue, green, red], 15),
            ([115.0; 3], 300),
            ([0.0; 3], 300),
        ] {
            assert_eq!(backwards(LEARNED, &images(means, count)), None, "{means:?}");
        }
        // Learned means that are the same backwards say nothing.
        assert_eq!(backwards([115.0, 90.0, 115.0], &images([115.0, 90.0, 115.0], 300)), None);
    }
}
