//! A library's threads, in programs of their own, because these fork and unload what they loaded.

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
