//! Places for the frames: in ranks from top to bottom, the order within a rank by what is above and below, long edges
//! through places of their own (Sugiyama's method, in small).

use super::Drawing;

/// Space between the frames of a rank, and beside long edges.
const GAP: f64 = 28.0;
/// Room for an edge that passes a rank.
const PASSING: f64 = 14.0;

/// Rounds in which items move; a network of thousands of layers is laid out in a moment.
const ROUNDS: usize = 120;
/// What straight lines weigh between points of a long edge, and between two frames that have only each other.
const PASSING_WEIGHT: f64 = 8.0;
const CHAIN_WEIGHT: f64 = 4.0;

/// What has a place: a frame, or a point that a long edge passes.
struct Item {
    rank: usize,
    width: f64,
    /// Whether it is a point of a long edge.
    passing: bool,
    /// The middle.
    x: f64,
    /// Items of the ranks before and behind that edges lead to.
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Where everything lies. Frames have their middle above and below each other by `x`.
pub(super) struct Layout {
    /// The middle and the rank of each frame.
    pub(super) frames: Vec<(f64, usize)>,
    /// For each edge the middle of what it passes, rank by rank, both ends included.
    pub(super) edges: Vec<Vec<(f64, usize)>>,
    /// The whole width.
    pub(super) width: f64,
    /// The number of ranks.
    pub(super) ranks: usize,
}

/// Lays out frames of these widths; a long edge has room for its label, of this width, in its middle.
pub(super) fn layout(drawing: &Drawing, widths: &[f64], label: impl Fn(&[usize]) -> f64) -> Layout {
    let ranks = ranks(drawing);
    let mut items: Vec<Item> = ranks.iter().zip(widths).map(|(&rank, &width)| item(rank, width, false)).collect();
    let mut chains = vec![];
    for edge in &drawing.edges {
        let mut chain = vec![edge.from];
        for rank in ranks[edge.from] + 1..ranks[edge.to] {
            chain.push(items.len());
            // The place that `Layout::edges` has in its middle.
            let middle = rank - ranks[edge.from] == (ranks[edge.to] - ranks[edge.from]).div_ceil(2);
            items.push(item(rank, if middle { label(&edge.shape) } else { PASSING }, true));
        }
        chain.push(edge.to);
        for pair in chain.windows(2) {
            items[pair[0]].below.push(pair[1]);
            items[pair[1]].above.push(pair[0]);
        }
        chains.push(chain);
    }
    let count = ranks.iter().max().map_or(0, |most| most + 1);
    let mut rows: Vec<Vec<usize>> = vec![vec![]; count];
    items.iter().enumerate().for_each(|(i, item)| rows[item.rank].push(i));
    order(&items, &mut rows);
    place(&mut items, &rows);
    straighten(&mut items, &rows);
    let left = items.iter().map(|i| i.x - i.width / 2.0).fold(f64::INFINITY, f64::min);
    let right = items.iter().map(|i| i.x + i.width / 2.0).fold(0.0, f64::max);
    items.iter_mut().for_each(|i| i.x -= left);
    let at = |&i: &usize| (items[i].x, items[i].rank);
    Layout {
        frames: (0..drawing.frames.len()).map(|i| at(&i)).collect(),
        edges: chains.iter().map(|chain| chain.iter().map(at).collect()).collect(),
        width: right - left,
        ranks: count,
    }
}

fn item(rank: usize, width: f64, passing: bool) -> Item {
    Item { rank, width, passing, x: 0.0, above: vec![], below: vec![] }
}

/// The rank of each frame: behind all that it reads. Frames stand in such an order.
fn ranks(drawing: &Drawing) -> Vec<usize> {
    let mut ranks = vec![0usize; drawing.frames.len()];
    let (mut reads, mut read) = (vec![vec![]; ranks.len()], vec![vec![]; ranks.len()]);
    for edge in &drawing.edges {
        reads[edge.to].push(edge.from);
        read[edge.from].push(edge.to);
    }
    for to in 0..ranks.len() {
        ranks[to] = reads[to].iter().map(|&from| ranks[from] + 1).max().unwrap_or(0);
    }
    // An input stands right above what reads it first.
    for from in (0..ranks.len()).filter(|&i| reads[i].is_empty()) {
        let first = read[from].iter().map(|&to| ranks[to]).min();
        ranks[from] = first.map_or(0, |first| first.saturating_sub(1));
    }
    ranks
}

/// Puts the items of each rank in the order of the mean place of their neighbours, downwards and upwards in turn.
fn order(items: &[Item], rows: &mut [Vec<usize>]) {
    let mut places = vec![0.0; items.len()];
    let number = |places: &mut [f64], row: &[usize]| row.iter().enumerate().for_each(|(at, &i)| places[i] = at as f64);
    rows.iter().for_each(|row| number(&mut places, row));
    for round in 0..8 {
        let down = round % 2 == 0;
        let count = rows.len();
        for step in 0..count {
            let row = &mut rows[if down { step } else { count - 1 - step }];
            let mean = |i: usize| {
                let near = if down { &items[i].above } else { &items[i].below };
                let sum: f64 = near.iter().map(|&n| places[n]).sum();
                if near.is_empty() { places[i] } else { sum / near.len() as f64 }
            };
            let mut keyed: Vec<(f64, usize)> = row.iter().map(|&i| (mean(i), i)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *row = keyed.into_iter().map(|(_, i)| i).collect();
            number(&mut places, row);
        }
    }
}

/// Moves items towards the middle of their neighbours, as far as those beside them let them.
fn place(items: &mut [Item], rows: &[Vec<usize>]) {
    for row in rows {
        let mut x = 0.0;
        for &i in row {
            x += items[i].width / 2.0;
            items[i].x = x;
            x += items[i].width / 2.0 + GAP;
        }
        let middle = (x - GAP) / 2.0;
        row.iter().for_each(|&i| items[i].x -= middle);
    }
    for round in 0..ROUNDS {
        for step in 0..rows.len() {
            let row = &rows[if round % 2 == 0 { step } else { rows.len() - 1 - step }];
            let wanted: Vec<f64> = row.iter().map(|&i| wanted(items, i)).collect();
            // As near to what is wanted as the order allows, from both sides, and the mean of the two.
            let distance = |items: &[Item], a: usize, b: usize| (items[a].width + items[b].width) / 2.0 + GAP;
            let mut left = wanted.clone();
            for k in 1..row.len() {
                left[k] = left[k].max(left[k - 1] + distance(items, row[k - 1], row[k]));
            }
            let mut right = wanted;
            for k in (0..row.len().saturating_sub(1)).rev() {
                right[k] = right[k].min(right[k + 1] - distance(items, row[k], row[k + 1]));
            }
            row.iter().enumerate().for_each(|(k, &i)| items[i].x = (left[k] + right[k]) / 2.0);
        }
    }
}

/// Puts what is alone in its rank right below or above the one that it is joined to, if that has no other on that side.
fn straighten(items: &mut [Item], rows: &[Vec<usize>]) {
    for row in rows {
        if let [i] = row[..]
            && let [above] = items[i].above[..]
            && items[above].below.len() == 1
        {
            items[i].x = items[above].x;
        }
    }
    for row in rows.iter().rev() {
        if let [i] = row[..]
            && let ([], [below]) = (&items[i].above[..], &items[i].below[..])
        {
            items[i].x = items[*below].x;
        }
    }
}

/// The middle of the neighbours; straight lines matter most to what only passes.
fn wanted(items: &[Item], i: usize) -> f64 {
    let weight = |upper: usize, lower: usize| match items[upper].below.len() == 1 && items[lower].above.len() == 1 {
        true if items[upper].passing && items[lower].passing => PASSING_WEIGHT,
        true => CHAIN_WEIGHT,
        false => 1.0,
    };
    let above = items[i].above.iter().map(|&n| (weight(n, i), items[n].x));
    let below = items[i].below.iter().map(|&n| (weight(i, n), items[n].x));
    let (weights, sum) = above.chain(below).fold((0.0, 0.0), |(w, s), (weight, x)| (w + weight, s + weight * x));
    if weights > 0.0 { sum / weights } else { items[i].x }
}
