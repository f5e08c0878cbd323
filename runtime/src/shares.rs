//! The shares of a batch, and the tree by which what they give is added up.
//!
//! A training step's sums over the images (gradients, the loss, statistics of the batch) are computed for each share of
//! the batch by itself, and the shares' sums are added by a binary tree over the shares' numbers. Both depend on the
//! number of images alone: so the sums have the same bits, however many processes have computed them.

use std::ops::Range;

/// Images of a share at least: fewer are too few for kernels.
const LEAST: usize = 8;
/// Images of a share that larger batches get before they get more shares.
const USUAL: usize = 32;
/// Shares of a batch that are aimed at, and the most.
const SHARES: usize = 8;
const MOST: usize = 64;

/// Returns the images of a share of a batch; the last share may have fewer.
pub fn images(batch: usize) -> usize {
    let usual = batch.div_ceil(SHARES).next_power_of_two().clamp(LEAST, USUAL);
    usual.max(batch.div_ceil(MOST).next_power_of_two())
}

/// Returns how many shares a batch has.
pub fn count(batch: usize) -> usize {
    batch.div_ceil(images(batch))
}

/// Returns the shares of rank `rank` of `ranks`: as equally many as they go.
pub fn of_rank(shares: usize, rank: usize, ranks: usize) -> Range<usize> {
    shares * rank / ranks..shares * (rank + 1) / ranks
}

/// Returns the images of these shares of a batch.
pub fn images_of(shares: Range<usize>, batch: usize) -> Range<usize> {
    let size = images(batch);
    (shares.start * size).min(batch)..(shares.end * size).min(batch)
}

/// A node of the tree: the shares from `number << level` on, `1 << level` of them (fewer at the end of the batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// 0: a share.
    pub level: u32,
    /// Counted from the left.
    pub number: usize,
}

/// Sums that wait for what they are added to: where each lies is its number from the bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    nodes: Vec<Node>,
}

impl Waiting {
    /// Returns the nodes, from the first to the last.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.nodes.clear();
    }

    /// Takes the next node to the right, which lies at the end; returns how often the last is now to be added to the
    /// one before it, in whose place the sum stays.
    pub fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        let mut merged = 0;
        while let [.., left, right] = self.nodes[..]
            && left.level == right.level
            && left.number + 1 == right.number
            && left.number.is_multiple_of(2)
        {
            self.nodes.truncate(self.nodes.len() - 2);
            self.nodes.push(Node { level: left.level + 1, number: left.number / 2 });
            merged += 1;
        }
        merged
    }

    /// Returns how often the last is to be added to the one before it until there is one: after the last share.
    pub fn end(&mut self) -> usize {
        let rest = self.nodes.len().saturating_sub(1);
        self.nodes.truncate(1);
        rest
    }
}

/// Returns the nodes that a run of shares makes.
pub fn nodes(shares: Range<usize>) -> Vec<Node> {
    let mut waiting = Waiting::default();
    for number in shares {
        waiting.push(Node { level: 0, number });
    }
    waiting.nodes
}

/// A value that is a sum over the images, and the launches that compute it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The first launch of those that compute it, which run share by share.
    pub begin: usize,
    /// The last one: after it the buffer holds the sum over its images.
    pub last: usize,
    /// The buffer, of floats.
    pub buffer: usize,
    /// What these launches write that is not of images, the sum included: shares that are computed at a time have such
    /// buffers of their own.
    pub own: Vec<usize>,
}

/// How a plan's batch is cut into shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Whether all images are in memory together, because values of images depend on sums over the batch: then launches
    /// run one after the other for all shares, else share after share.
    pub whole: bool,
    /// Images of a share that are in memory together, where shares go one after the other; a share may have fewer.
    /// `None`: all of them.
    pub group: Option<usize>,
    /// The sums, by their last launches.
    pub sums: Vec<Sum>,
    /// Launches and buffers that they add to, which are zeros before a share's first images.
    pub clears: Vec<(usize, usize)>,
    /// Launches of sums that run after a share's last images only, because they read no images themselves.
    pub late: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as a text, by recursion.
    fn tree(from: usize, size: usize, count: usize) -> String {
        if size == 1 {
            return from.to_string();
        }
        let left = tree(from, size / 2, count);
        match from + size / 2 < count {
            true => format!("({left}+{})", tree(from + size / 2, size / 2, count)),
            false => left,
        }
    }

    fn merge(values: &mut Vec<String>, times: usize) {
        for _ in 0..times {
            let (right, left) = (values.pop().expect("two"), values.pop().expect("two"));
            values.push(format!("({left}+{right})"));
        }
    }

    #[test]
    fn any_number_of_ranks_adds_by_the_same_tree() {
        for count in 1..=40usize {
            let expected = tree(0, count.next_power_of_two(), count);
            for ranks in [1, 2, 3, 4, 5, 8, 16] {
                let (mut all, mut values) = (Waiting::default(), Vec::new());
                for rank in 0..ranks {
                    let (mut own, mut sums) = (Waiting::default(), Vec::new());
                    for number in of_rank(count, rank, ranks) {
                        sums.push(number.to_string());
                        merge(&mut sums, own.push(Node { level: 0, number }));
                    }
                    assert_eq!(own.nodes(), nodes(of_rank(count, rank, ranks)));
                    for (node, sum) in own.nodes().iter().zip(sums) {
                        values.push(sum);
                        merge(&mut values, all.push(*node));
                    }
                }
                merge(&mut values, all.end());
                assert_eq!(values, std::slice::from_ref(&expected), "{count} shares, {ranks} ranks");
            }
        }
    }

    #[test]
    fn shares_are_a_function_of_the_batch() {
        let sizes = [1, 21, 64, 128, 200, 512, 1024, 2048, 4096, 65536].map(|batch| (images(batch), count(batch)));
        let expected = [(8, 1), (8, 3), (8, 8), (16, 8), (32, 7), (32, 16), (32, 32), (32, 64), (64, 64), (1024, 64)];
        assert_eq!(sizes, expected);
        for batch in [1, 7, 64, 100, 129] {
            for ranks in 1..9 {
                let parts = (0..ranks).map(|rank| images_of(of_rank(count(batch), rank, ranks), batch));
                assert!(parts.flatten().eq(0..batch), "{batch} {ranks}");
            }
        }
    }
}
