//! Splits of data that come in one piece: a part of each class, in proportion, the same at every start.

use super::{Dataset, Pixels, Purpose, SPLIT_SEED, Sets, stream};
use crate::init::fnv;
use crate::philox::philox;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// What decides which items of a class are cut off, besides the fixed seed.
#[derive(Clone, Copy, Debug)]
pub enum Order<'a> {
    /// The items' numbers.
    Index,
    /// The files' names below this folder: what is added to a class or leaves it moves hardly any other file.
    Names(&'a Path),
    /// The items' numbers, over all classes together, as former versions split data.
    Former,
}

impl Order<'_> {
    /// Says the rule for people, of a part that is cut off.
    pub fn rule(self) -> &'static str {
        match self {
            Order::Index => "of each class, by the images' numbers and a fixed seed",
            Order::Names(_) => "of each class, by the files' names",
            Order::Former => "by the images' numbers and a fixed seed",
        }
    }
}

/// Keeps a fifth for testing, rounded up: `(training, test)`.
pub fn test_fifth(all: &Dataset, order: Order) -> (Dataset, Dataset) {
    cut(all, all.len().div_ceil(5), order)
}

/// Cuts the validation part off the training part, as `valid` in `data` says: a fraction below 1 or a count.
pub fn validation(sets: &mut Sets, valid: f64, order: Order) -> Result<()> {
    let all = sets.train.len();
    let count = if valid < 1.0 { (valid * all as f64).round() as usize } else { valid as usize };
    let (train, valid_part) = cut(&sets.train, count, order);
    if count == 0 || valid_part.len() < count || train.is_empty() {
        return Err(Error::new(format!(
            "`valid = {valid}` leaves nothing to train on or to validate with: {all} images in {} classes",
            classes(&sets.train).len()
        )));
    }
    sets.reading.parts.push(format!("validation: {} of {all} training images, {}", valid_part.len(), order.rule()));
    (sets.train, sets.valid) = (train, Some(valid_part));
    Ok(())
}

/// Cuts `count` items off, of each class in proportion, but never all of one (of all classes together as former
/// versions did): `(the rest, the cut)`. Both stay in the order that they were in.
pub fn cut(set: &Dataset, count: usize, order: Order) -> (Dataset, Dataset) {
    let mut classes = classes(set);
    let sizes: Vec<usize> = classes.values().map(Vec::len).collect();
    match order {
        Order::Former => return set.split(SPLIT_SEED, count),
        Order::Index => {
            let mut places: Vec<u32> = (0..set.len() as u32).collect();
            stream(SPLIT_SEED, Purpose::Split, 0, 0).shuffle(&mut places);
            let mut place = vec![0; set.len()];
            (0u32..).zip(places.iter().rev()).for_each(|(at, &item)| place[item as usize] = at);
            classes.values_mut().for_each(|items| items.sort_unstable_by_key(|&item| place[item]));
        }
        Order::Names(root) => {
            classes.values_mut().for_each(|items| items.sort_by_cached_key(|&item| (key(set, item, root), item)));
        }
    }
    let mut cut: Vec<usize> =
        classes.values().zip(quotas(&sizes, count)).flat_map(|(items, quota)| items[..quota].to_vec()).collect();
    cut.sort_unstable();
    let mut rest: Vec<usize> = (0..set.len()).collect();
    rest.retain(|item| cut.binary_search(item).is_err());
    let rows = |items: Vec<usize>| items.into_iter().map(|item| set.rows[item]).collect();
    (set.part(rows(rest)), set.part(rows(cut)))
}

/// Collects the items of each class.
fn classes(set: &Dataset) -> BTreeMap<u32, Vec<usize>> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    (0..set.len()).for_each(|item| classes.entry(set.label(item)).or_default().push(item));
    classes
}

/// Returns a random number that a file's name below `root` decides.
fn key(set: &Dataset, item: usize, root: &Path) -> u64 {
    let Pixels::Files(files, _) = &set.images.pixels else { return 0 };
    let file = &files[set.rows[item] as usize];
    let parts = file.strip_prefix(root).unwrap_or(file).components();
    let bytes: Vec<u8> = parts.flat_map(|part| [part.as_os_str().as_encoded_bytes(), b"/"].concat()).collect();
    let hash = fnv(&bytes);
    let words = philox([hash as u32, (hash >> 32) as u32, 0, 0], [SPLIT_SEED as u32, (SPLIT_SEED >> 32) as u32]);
    u64::from(words[0]) << 32 | u64::from(words[1])
}

/// Says how many of `count` items each class gives: in proportion to its size, by the largest remainders, at least one
/// where there are enough, and never all that it has.
fn quotas(sizes: &[usize], count: usize) -> Vec<usize> {
    let all = sizes.iter().sum::<usize>().max(1);
    let most = |class: usize| sizes[class].saturating_sub(1);
    let several = (0..sizes.len()).filter(|&class| most(class) > 0).count();
    let count = count.min((0..sizes.len()).map(most).sum());
    let least = |class: usize| usize::from(count >= several).min(most(class));
    let share = |class: usize| sizes[class] * count / all;
    let mut quotas: Vec<usize> =
        (0..sizes.len()).map(|class| share(class).max(least(class)).min(most(class))).collect();
    // What a class lacks of its exact share, times the number of all items.
    let lacks = |quota: usize, class: usize| (sizes[class] * count) as i128 - (quota * all) as i128;
    loop {
        let given = quotas.iter().sum::<usize>();
        let more = given < count;
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.retain(|&class| if more { quotas[class] < most(class) } else { quotas[class] > least(class) });
        order.sort_by_key(|&class| if more { -lacks(quotas[class], class) } else { lacks(quotas[class], class) });
        if given == count || order.is_empty() {
            return quotas;
        }
        for class in order.into_iter().take(given.abs_diff(count)) {
            if more { quotas[class] += 1 } else { quotas[class] -= 1 }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quotas;

    #[test]
    fn each_class_gives_its_share() {
        assert_eq!(quotas(&[10, 10], 4), [2, 2]);
        // By hand: 6, 3 and 1 of 10 items, 3 are cut off: 1.8, 0.9 and 0.3, and the class of one item keeps it.
        assert_eq!(quotas(&[6, 3, 1], 3), [2, 1, 0]);
        // Each has one at least, which the large class pays for: 9, 0.5 and 0.5.
        assert_eq!(quotas(&[90, 5, 5], 10), [8, 1, 1]);
        assert_eq!(quotas(&[2, 2, 2], 100), [1, 1, 1]);
        assert_eq!(quotas(&[0, 1, 7], 3), [0, 0, 3]);
        assert_eq!(quotas(&[100, 100, 100], 100), [34, 33, 33]);
        assert_eq!(quotas(&[5, 5, 5], 2), [1, 1, 0]);
        assert!(quotas(&[], 2).is_empty());
    }
}
