//! A batch that several processes share: the same bits for any number of ranks, which are threads here that exchange
//! through memory. `tests/mpi/run.sh` does it with processes and MPI.

use crate::opencl;
use crate::step::{close, load, start, steps};
use ninc::model::Model;
use ninc::pipeline::{self, Device, Options};
use ninc::types::Format;
use ninc_runtime::ranks::{Ranks, threads};

/// All kinds of sums: gradients in the Winograd domain and in parts, of biases and slopes, the loss; random masks.
const PLAIN: &str = "conv(kernel = 5, pad = 2, channels = 20) |> relu |> dropout(0.3)
        |> mlpconv(kernel = 3, pad = 1, channels = [24, 16]) as block1
        |> max_pool(kernel = 3, stride = 2)
        |> conv(kernel = 3, pad = 1, channels = 17) |> prelu
        |> conv(kernel = 3, stride = 2, channels = 9) |> relu
        |> flatten |> linear(classes) |> softmax";
/// Statistics of the batch, which values of images depend on.
const NORMED: &str = "conv(kernel = 5, pad = 2, channels = 20) |> batch_norm |> relu |> dropout(0.3)
        |> conv(kernel = 3, pad = 1, channels = 16) |> batch_norm |> relu
        |> max_pool(kernel = 3, stride = 2)
        |> conv(kernel = 3, stride = 2, channels = 9) |> relu
        |> flatten |> linear(classes) |> softmax";

fn model(layers: &str, train: &str, side: usize) -> Model {
    load(&format!(
        "network shared(classes = 5) {{ input image: [3, {side}, {side}]  image |> {layers} }}
        train {{ loss = cross_entropy  {train}  batch = 64  steps = 3 }}"
    ))
}

/// What each of these ranks has after three steps: losses and all parameters.
fn trained(model: &Model, options: &Options, ranks: usize, batch: usize) -> Vec<Vec<Vec<f32>>> {
    std::thread::scope(|scope| {
        let rank = |link| {
            scope.spawn(move || {
                let ranks = Some(Ranks::start(move |_| Ok(link)).expect("a thread"));
                one(model, &Options { ranks, ..options.clone() }, batch)
            })
        };
        let threads: Vec<_> = threads::links(ranks).into_iter().map(rank).collect();
        threads.into_iter().map(|thread| thread.join().expect("trains")).collect()
    })
}

fn one(model: &Model, options: &Options, batch: usize) -> Vec<Vec<f32>> {
    let mut program = pipeline::training(model, options).expect("it compiles");
    start(&mut *program.engine, &program.params);
    steps(model, &mut *program.engine, &program.params, batch)
}

/// The same after steps of batches of these sizes.
fn steps_of(model: &Model, options: &Options, batches: [usize; 2]) -> Vec<Vec<f32>> {
    let mut program = pipeline::training(model, options).expect("it compiles");
    start(&mut *program.engine, &program.params);
    let [first, second] = batches.map(|batch| steps(model, &mut *program.engine, &program.params, batch));
    first.into_iter().chain(second).collect()
}

fn same_bits(layers: &str, train: &str, precision: Option<Format>, batches: &[usize]) {
    let model = model(layers, train, 12);
    let options = Options { precision, ..Options::default() };
    for &batch in batches {
        let alone = one(&model, &options, batch);
        let threads = Options { threads: 3, ..options.clone() };
        assert!(one(&model, &threads, batch) == alone, "{train}: batch {batch}, threads");
        if precision.is_none() {
            let interpreter = Options { device: Device::Interp, ..options.clone() };
            close(&alone, &one(&model, &interpreter, batch), &format!("{train}: interpreter, batch {batch}"));
            let groups = Options { in_shares: false, ..options.clone() };
            close(&alone, &one(&model, &groups, batch), &format!("{train}: in groups, batch {batch}"));
        }
        for ranks in [1, 2, 3, 4, 8] {
            for (rank, found) in trained(&model, &options, ranks, batch).into_iter().enumerate() {
                assert!(found == alone, "{train}: batch {batch}, rank {rank} of {ranks}");
            }
        }
    }
}

#[test]
fn ranks_have_the_bits_of_one_process() {
    let sgd = "optimizer = sgd(rate = 0.01, momentum = 0.9, decay = 1e-4)  clip = 5.0";
    // Fewer shares than ranks, a last share that is not full, and one share alone.
    same_bits(PLAIN, sgd, None, &[64, 21, 5]);
    same_bits(PLAIN, "optimizer = adam(rate = 0.01)  average = 0.9", Some(Format::Bf16), &[64]);
}

/// Images so large that not all of a share are in memory together: sums go on from group to group.
#[test]
fn groups_of_a_share_have_the_bits_of_one_process() {
    let model = model(PLAIN, "optimizer = sgd(rate = 0.01, momentum = 0.9)", 60);
    for precision in [None, Some(Format::Bf16)] {
        let options = Options { precision, ..Options::default() };
        let program = pipeline::training(&model, &options).expect("it compiles");
        let shares = program.compiled.and_then(|compiled| compiled.plan.shares.clone()).expect("shares");
        assert!(shares.group.is_some_and(|group| group < 8) && !shares.clears.is_empty() && !shares.late.is_empty());
        // Shares of 8, 8 and 5 images: the last group of each has another number of images.
        let alone = one(&model, &options, 21);
        let threads = Options { threads: 3, ..options.clone() };
        assert!(one(&model, &threads, 21) == alone, "threads");
        if precision.is_none() {
            let groups = Options { in_shares: false, ..options.clone() };
            close(&alone, &one(&model, &groups, 21), "in groups of the batch");
        }
        for ranks in [2, 4] {
            let threads = Options { threads: 2, ..options.clone() };
            for found in trained(&model, &threads, ranks, 21) {
                assert!(found == alone, "{ranks} ranks");
            }
        }
    }
}

/// Devices add up the whole batch at once where one process has them; in shares, several give the bits of one.
#[test]
fn devices_of_ranks_have_the_bits_of_one_process() {
    if !opencl::present() {
        return;
    }
    let sgd = "optimizer = sgd(rate = 0.01, momentum = 0.9, decay = 1e-4)";
    for (layers, numbers) in [(PLAIN, &[2, 4][..]), (NORMED, &[2])] {
        let batch = 21;
        let model = model(layers, sgd, 12);
        let whole = one(&model, &opencl::options(), batch);
        let options = Options { devices_in_shares: true, ..opencl::options() };
        let alone = one(&model, &options, batch);
        close(&whole, &alone, "in shares");
        // Three shares: one of four ranks has none.
        for &ranks in numbers {
            for (rank, found) in trained(&model, &options, ranks, batch).into_iter().enumerate() {
                assert!(found == alone, "rank {rank} of {ranks}");
            }
        }
        // A smaller batch leaves programs without images.
        close(&steps_of(&model, &opencl::options(), [21, 5]), &steps_of(&model, &options, [21, 5]), "other batches");
    }
}

#[test]
fn statistics_are_those_of_the_whole_batch() {
    let sgd = "optimizer = sgd(rate = 0.01, momentum = 0.9)";
    same_bits(NORMED, sgd, None, &[64, 21, 5]);
    same_bits(NORMED, &format!("{sgd}  convolutions = muon(rate = 0.02)"), Some(Format::Bf16), &[36]);
}
