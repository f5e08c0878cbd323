//! A library's threads, and threads that share a library; programs of their own fork and unload what they loaded.

use super::loaded::Loaded;
use super::{Place, have};
use std::fs;

/// Compiles `text` against the library in `lib` and runs it with the weights.
fn program(place: &Place, name: &str, text: &str, more: &[&str]) -> String {
    let source = format!("{name}.c");
    fs::write(place.path(&source), text).expect("written");
    place.good("cc", &[&["-O1", "-Wall", "-Werror", "-I.", &source], more, &["-o", name]].concat());
    place.good(&format!("./{name}"), &["lib/small.safetensors"])
}

#[test]
fn threads_are_kept_and_survive_a_fork() {
    if !have("cc") {
        return;
    }
    let place = Place::trained(3, "[scale]");
    place.build("lib", &["--cpu", "native"]);
    let text = include_str!("threads.c");
    assert_eq!(program(&place, "threads", text, &["lib/libsmall.a", "-lpthread"]), "done\n");
}

#[test]
fn unloading_leaves_nothing_behind() {
    if !have("cc") {
        return;
    }
    let place = Place::trained(3, "[scale]");
    place.build("lib", &["--cpu", "native"]);
    assert_eq!(program(&place, "unload", include_str!("unload.c"), &["-ldl"]), "done\n");
}

#[test]
fn many_threads_share_one_network() {
    let place = Place::trained(3, "[scale]");
    place.build("lib", &["--cpu", "native"]);
    let library = Loaded::open(&place.path("lib/libsmall.so"), "small");
    let network = library.create(&place.path("lib/small.safetensors")).expect("good weights");
    let images: Vec<f32> = (0..70 * 192).map(|i| (i % 251) as f32 / 251.0).collect();
    let expected = library.run(network, 70, &images, 1, None).expect("runs");
    // A few images go by a plan of their own, one by one or together; more of them by that for batches.
    let few = library.run(network, 8, &images, 1, None).expect("runs");
    let alone: Vec<f32> =
        (0..70).flat_map(|i| library.run(network, 1, &images[i * 192..], 1, None).expect("runs")).collect();
    assert_eq!(alone[..80], few);
    let far = alone.iter().zip(&expected).position(|(a, b)| (a - b).abs() > 1e-5);
    assert_eq!(far, None, "a number that the plans disagree on");
    // With threads, in a workspace of the caller's: the same bits.
    for threads in [2, 3, 5] {
        assert_eq!(library.run(network, 70, &images, threads, None).expect("runs"), expected, "{threads} threads");
    }
    let needed = library.workspace_size(network, 70, 2);
    assert_eq!(library.run(network, 70, &images, 2, Some(needed)).expect("runs"), expected);
    assert_eq!(library.run(network, 70, &images, 2, Some(needed - 1)), Err(7));
    assert_eq!(library.workspace_size(network, 64, 1), library.workspace_size(network, 1000, 1));
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..100)
            .map(|i| {
                let (library, images, alone) = (&library, &images, &alone);
                scope.spawn(move || {
                    let (from, count) = (i % 60, 1 + i % 7);
                    let got = library.run(network, count, &images[from * 192..], 1 + i % 2, None).expect("runs");
                    assert_eq!(got, alone[from * 10..(from + count) * 10]);
                })
            })
            .collect();
        calls.into_iter().for_each(|call| call.join().expect("agrees"));
    });
    library.destroy(network);
}
