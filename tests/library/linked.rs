//! `digits` and `cifar10` on every system that `--target` takes: run where an emulator does, else linked by lld against
//! import libraries, `.tbd` files and stubs that are written here, and read by `llvm-readobj`. It needs packages
//! (lld, llvm, qemu-user, wine, musl-tools, cross compilers), so `tests/slow.sh systems` runs it.

use super::systems::{imports, numbers};
use super::{Place, have, texts};
use ninc::library::systems::{Family, Processor, SYSTEMS, System, Tested};
use std::fs;

/// A network, a picture for it, and the images of a batch that an emulator computes in seconds.
const NETWORKS: [(&str, &str, usize); 2] =
    [("digits", "tests/data/digit-7.png", 40), ("cifar10", "tests/data/ship.png", 4)];

/// Runs `NAME` for N images with one thread and with three, twice, and compares all bits.
const THREADS: &str = r#"
#include "@name@.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int count, char **values) {
    char error[256];
    struct @name@ *network = NULL;
    if (count < 2 || @name@_create(&network, values[1], error, sizeof error)) return puts(error), 1;
    float *images = malloc(sizeof(float) * N * INPUT), *one = calloc(N * OUTPUT, sizeof(float));
    float *three = calloc(N * OUTPUT, sizeof(float));
    for (int i = 0; i < N * INPUT; i++) images[i] = (float)(i * 37 % 256) / 256;
    if (@name@_run_with(network, N, images, one, 1, NULL, 0)) return puts("one thread"), 1;
    for (int turn = 0; turn < 2; turn++) {
        memset(three, 0, sizeof(float) * N * OUTPUT);
        if (@name@_run_with(network, N, images, three, 3, NULL, 0)) return puts("three threads"), 1;
        if (memcmp(one, three, sizeof(float) * N * OUTPUT)) return puts("other bits"), 1;
    }
    @name@_destroy(network);
    if (@name@_create(&network, "none.safetensors", error, sizeof error) != @name@_NO_FILE_) return puts("no file"), 1;
    puts(error);
    return 0;
}
"#;

/// Learns three steps, saves twice by one name, and reads what it saved; prints the losses' bits.
const LEARN: &str = r#"
#include "@name@.h"
#include <stdio.h>
#define N 20
static float images[N * INPUT];
static int32_t labels[N];
int main(int count, char **values) {
    char error[256];
    struct @name@_train *training = NULL;
    if (count < 3 || @name@_train_create(&training, values[1], error, sizeof error)) return puts(error), 1;
    for (int i = 0; i < N * INPUT; i++) images[i] = (float)(i * 37 % 256) / 256;
    for (int i = 0; i < N; i++) labels[i] = i % OUTPUT;
    for (int step = 0; step < 3; step++) {
        union { float loss; uint32_t bits; } result;
        if (@name@_train_step(training, N, images, labels, step, 1.0, &result.loss, 2, NULL, 0)) return puts("step"), 1;
        printf("%08x\n", result.bits);
    }
    for (int i = 0; i < 2; i++)
        if (@name@_train_save(training, values[2])) return puts("save"), 1;
    if (@name@_train_save(training, "none/x.safetensors") != @name@_NO_WRITE_) return puts("no folder"), 1;
    @name@_train_destroy(training);
    struct @name@ *network = NULL;
    if (@name@_create(&network, values[2], error, sizeof error)) return puts(error), 1;
    @name@_destroy(network);
    return 0;
}
"#;

/// Runs a network with numbers in the registers that Windows' functions keep, and looks whether they are there.
const KEEP: &str = r#"
#include "@name@.h"
#include <stdio.h>
#include <string.h>
static float images[INPUT], result[OUTPUT];
static struct {
    uint64_t kept[2][20], general[2];
} all;
int main(int count, char **values) {
    char error[256];
    @name@ *network = NULL;
    if (count < 2 || @name@_create(&network, values[1], error, sizeof error)) return puts(error), 1;
    for (int i = 0; i < 20; i++) all.kept[0][i] = 0x1234567890abcdef * (uint64_t)(i + 1);
    uint64_t status = 1;
    __asm__ volatile(
        "sub $64, %%rsp\n mov %[network], %%rcx\n mov $1, %%edx\n mov %[images], %%r8\n mov %[result], %%r9\n"
        "mov $0x1111, %%edi\n mov $0x2222, %%esi\n"
        "movups 0(%%rbx), %%xmm6\n" "movups 16(%%rbx), %%xmm7\n" "movups 32(%%rbx), %%xmm8\n"
        "movups 48(%%rbx), %%xmm9\n" "movups 64(%%rbx), %%xmm10\n" "movups 80(%%rbx), %%xmm11\n"
        "movups 96(%%rbx), %%xmm12\n" "movups 112(%%rbx), %%xmm13\n" "movups 128(%%rbx), %%xmm14\n"
        "movups 144(%%rbx), %%xmm15\n"
        "call @name@_run\n"
        "movups %%xmm6, 160(%%rbx)\n" "movups %%xmm7, 176(%%rbx)\n" "movups %%xmm8, 192(%%rbx)\n"
        "movups %%xmm9, 208(%%rbx)\n" "movups %%xmm10, 224(%%rbx)\n" "movups %%xmm11, 240(%%rbx)\n"
        "movups %%xmm12, 256(%%rbx)\n" "movups %%xmm13, 272(%%rbx)\n" "movups %%xmm14, 288(%%rbx)\n"
        "movups %%xmm15, 304(%%rbx)\n"
        "mov %%rdi, 320(%%rbx)\n mov %%rsi, 328(%%rbx)\n add $64, %%rsp\n"
        : "=a"(status)
        : "b"(&all), [network] "r"(network), [images] "r"(&images[0]), [result] "r"(&result[0])
        : "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "memory", "xmm0", "xmm1",
          "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
          "xmm15");
    if ((int)status || memcmp(all.kept[0], all.kept[1], 160) || all.general[0] != 0x1111 ||
        all.general[1] != 0x2222) return puts("lost"), 1;
    puts("kept");
    return 0;
}
"#;

/// A program's text for a network.
fn program(text: &str, name: &str) -> String {
    let upper = name.to_uppercase();
    let text = ["NO_FILE", "NO_WRITE"].iter().fold(text.to_string(), |text, status| {
        text.replace(&format!("@name@_{status}_"), &format!("{upper}_{status}"))
    });
    let text = text.replace("INPUT", &format!("{upper}_INPUT_SIZE")).replace("OUTPUT", &format!("{upper}_OUTPUT_SIZE"));
    text.replace("@name@", name)
}

/// How C programs for a system are made and run.
fn tools(system: &System) -> Option<(Vec<&'static str>, Vec<&'static str>)> {
    Some(match (system.family, system.processor) {
        (Family::Musl, _) => (vec!["musl-gcc", "-static"], vec![]),
        (Family::Gnu, Processor::X86_64) => (vec!["cc"], vec![]),
        (Family::Gnu, Processor::Aarch64) => (vec!["aarch64-linux-gnu-gcc", "-static"], vec!["qemu-aarch64"]),
        (Family::Gnu, Processor::Riscv64) => (vec!["riscv64-linux-gnu-gcc", "-static"], vec!["qemu-riscv64"]),
        (Family::WindowsGnu, _) => (vec!["x86_64-w64-mingw32-gcc"], vec!["wine"]),
        _ => return None,
    })
}

/// Compiles a program with the archive of a library and gives its stdout.
fn run(place: &Place, system: &System, name: &str, source: &str, arguments: &[&str]) -> Option<String> {
    let (compile, emulator) = tools(system)?;
    if !have(compile[0]) || emulator.first().is_some_and(|program| !have(program)) {
        return None;
    }
    let [_, archive, _] = system.files(name);
    let archive = format!("lib/{archive}");
    let line = [&compile[1..], &["-O1", "-Ilib", source, &archive, "-o", "program.exe"]].concat();
    let threads = if system.family == Family::Gnu { &["-lpthread"][..] } else { &[] };
    place.good(compile[0], &[&line, threads].concat());
    let program = place.path("program.exe");
    let line: Vec<&str> = emulator.iter().copied().chain([program.to_str().expect("plain")]).collect();
    Some(place.good(line[0], &[&line[1..], arguments].concat()).replace('\r', ""))
}

/// A network's files beside each other: its text, weights, and the picture as PPM and as it was.
fn place(name: &str, picture: &str) -> Place {
    let place = Place::new();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [format!("{name}.nin"), format!("{name}.safetensors")] {
        fs::copy(root.join("models").join(&file), place.path(&file)).expect("copied");
    }
    fs::copy(root.join(picture), place.path("a.png")).expect("copied");
    let pixels = image::open(place.path("a.png")).expect("a picture");
    let (kind, bytes) = match pixels.color().has_color() {
        true => (6, pixels.to_rgb8().into_raw()),
        false => (5, pixels.to_luma8().into_raw()),
    };
    let head = format!("P{kind}\n{} {}\n255\n", pixels.width(), pixels.height());
    fs::write(place.path("a.ppm"), [head.as_bytes(), &bytes].concat()).expect("written");
    place
}

fn build(place: &Place, name: &str, triple: &str, more: &[&str]) {
    let (text, weights) = (format!("{name}.nin"), format!("{name}.safetensors"));
    let line = ["build", &text, "--weights", &weights, "--target", triple, "-o", "lib", "--overwrite"];
    place.good("ninc", &[&line, more].concat());
}

#[test]
#[ignore = "needs emulators: tests/slow.sh systems"]
fn networks_give_the_same_bits_on_all_systems_that_run() {
    for (name, picture, images) in NETWORKS {
        let place = place(name, picture);
        let weights = format!("lib/{name}.safetensors");
        let raw = ["--raw", &weights, "a.ppm"];
        // Those of x86-64 have no fused multiply-add at their lowest level; that of `ninc run --isa portable` is fused.
        let own = System::host().expect("a known one");
        build(&place, name, own.triple, &["--cpu", "baseline"]);
        let apart = numbers(&run(&place, own, name, "lib/classify.c", &raw).expect("a compiler"));
        let model = format!("{name}.nin");
        let stored = format!("{name}.safetensors");
        let line = ["run", &model, "--weights", &stored, "a.png", "--output", "r.npy", "--isa", "portable"];
        place.good("ninc", &[&line[..], &["--caches", "32K,1M,16M"]].concat());
        let fused = ninc_runtime::npy::read(&place.path("r.npy")).expect("an array");
        let fused: Vec<u32> = fused.data.iter().map(|v| v.to_bits()).collect();
        let threads = format!("#define N {images}\n{}", program(THREADS, name));
        fs::write(place.path("threads.c"), threads).expect("written");
        for system in SYSTEMS.iter().filter(|system| matches!(system.tested, Tested::Run(_))) {
            build(&place, name, system.triple, &["--cpu", "baseline"]);
            let Some(got) = run(&place, system, name, "lib/classify.c", &raw) else { continue };
            let expected = if system.x86() { &apart } else { &fused };
            assert_eq!(numbers(&got), *expected, "{name} on {}", system.triple);
            let out = run(&place, system, name, "threads.c", &[&weights]).expect("the same programs");
            assert!(out.contains("none.safetensors: cannot be opened"), "{}: {out}", system.triple);
            eprintln!("{name}: {}: the same bits, one thread and three", system.triple);
        }
    }
}

#[test]
#[ignore = "needs emulators: tests/slow.sh systems"]
fn training_gives_the_same_file_on_all_systems_of_a_processor() {
    let place = place("digits", NETWORKS[0].1);
    fs::write(place.path("learn.c"), program(LEARN, "digits")).expect("written");
    let learn = |system: &System| -> Option<(String, Vec<u8>)> {
        build(&place, "digits", system.triple, &["--cpu", "baseline", "--train"]);
        // A name that is not ASCII is one of UTF-8 on every system.
        let arguments = ["lib/digits_train.safetensors", "gespeichert-ä.safetensors"];
        let losses = run(&place, system, "digits", "learn.c", &arguments)?;
        let saved = fs::read(place.path(arguments[1])).expect("saved");
        fs::remove_file(place.path(arguments[1])).expect("removed");
        Some((losses, saved))
    };
    let own = System::host().expect("a known one");
    let expected = learn(own).expect("a compiler");
    for system in SYSTEMS.iter().filter(|system| matches!(system.tested, Tested::Run(_))) {
        let Some(got) = learn(system) else { continue };
        assert_eq!(got.0.lines().count(), 3, "{}: {}", system.triple, got.0);
        assert_eq!(got.1.len(), expected.1.len(), "{}", system.triple);
        if system.processor == own.processor {
            assert!(got == expected, "{}: {} {}", system.triple, got.0, expected.0);
        }
        eprintln!("{}: learns", system.triple);
    }
}

#[test]
#[ignore = "needs wine: tests/slow.sh systems"]
fn windows_callers_find_their_registers_kept() {
    let place = place("cifar10", NETWORKS[1].1);
    fs::write(place.path("keep.c"), program(KEEP, "cifar10")).expect("written");
    let system = System::named("x86_64-pc-windows-gnu").expect("a known one");
    // By Cranelift's micro-kernels, and by those that this machine's widest vectors are for.
    for level in [&["--cpu", "baseline"][..], &["--fat"]] {
        build(&place, "cifar10", system.triple, level);
        let Some(said) = run(&place, system, "cifar10", "keep.c", &["lib/cifar10.safetensors"]) else { return };
        assert_eq!(said, "kept\n", "{level:?}");
    }
}

/// Functions of the C library that a library calls, without those of Windows' kernel.
fn of_c(all: &std::collections::BTreeSet<String>, kernel: bool) -> Vec<&String> {
    all.iter().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) == kernel).collect()
}

/// Links a library of a network for a system that nothing here runs; gives the linked file's name.
fn link(place: &Place, system: &System, name: &str) -> Option<String> {
    let [object, archive, shared] = system.files(name);
    let (object, archive) = (format!("lib/{object}"), format!("lib/{archive}"));
    let needed = imports(system, true);
    match system.family {
        Family::Android => {
            if !have("ld.lld") || !have("aarch64-linux-gnu-gcc") {
                return None;
            }
            let stubs: String = needed.iter().map(|name| format!("void {name}(void) {{}}\n")).collect();
            fs::write(place.path("stubs.c"), stubs).expect("written");
            let line =
                ["-shared", "-nostdlib", "-fno-builtin", "-w", "-Wl,-soname,libc.so", "stubs.c", "-o", "libc.so"];
            place.good("aarch64-linux-gnu-gcc", &line);
            // The library that ninc wrote, in a program's place: all that it needs is there.
            let line = ["-shared", "--no-undefined", "--whole-archive", &archive, "libc.so", "-o", "linked.so"];
            place.good("ld.lld", &line);
            let own = format!("lib/{shared}");
            place.good("ld.lld", &["-pie", "-e", "0", "--no-undefined", &own, "libc.so", "-o", "program"]);
            Some("linked.so".into())
        }
        Family::Apple => {
            if !have("lld") {
                return None;
            }
            let (arch, platform) = match (system.processor, system.triple.ends_with("ios")) {
                (Processor::X86_64, _) => ("x86_64", "macos"),
                (_, false) => ("arm64", "macos"),
                (_, true) => ("arm64", "ios"),
            };
            // The linker makes this one.
            let names: Vec<String> =
                needed.iter().filter(|n| *n != "__dso_handle").map(|n| format!("'_{n}'")).collect();
            let tbd = format!(
                "--- !tapi-tbd\ntbd-version: 4\ntargets: [ {arch}-{platform} ]\ninstall-name: \
                 '/usr/lib/libSystem.B.dylib'\nexports:\n  - targets: [ {arch}-{platform} ]\n    symbols: [ {}, \
                 dyld_stub_binder ]\n...\n",
                names.join(", ")
            );
            fs::write(place.path("libSystem.tbd"), tbd).expect("written");
            let start = ["-flavor", "darwin", "-arch", arch, "-platform_version", platform, "13.0", "13.0", "-dylib"];
            let end = ["libSystem.tbd", "-o", "linked.dylib"];
            place.good("lld", &[&start[..], &["-all_load", &archive], &end[..]].concat());
            place.good("lld", &[&start[..], &[object.as_str()], &end[..]].concat());
            Some("linked.dylib".into())
        }
        Family::WindowsMsvc => {
            if !have("lld-link") || !have("llvm-dlltool") {
                return None;
            }
            for (library, kernel) in [("kernel32", true), ("ucrt", false)] {
                let lines: String = of_c(&needed, kernel).iter().map(|name| format!("    {name}\n")).collect();
                let text = format!("LIBRARY {library}.dll\nEXPORTS\n{lines}");
                fs::write(place.path(&format!("{library}.def")), text).expect("written");
                let names = [format!("{library}.def"), format!("{library}.lib")];
                place.good("llvm-dlltool", &["-m", "i386:x86-64", "-d", &names[0], "-l", &names[1]]);
            }
            let exports = format!("/def:lib/{name}.def");
            let line = ["/dll", "/noentry", "/machine:x64", &exports, "kernel32.lib", "ucrt.lib", "/out:linked.dll"];
            place.good("lld-link", &[&line[..], &[archive.as_str()]].concat());
            place.good("lld-link", &[&line[..], &[object.as_str()]].concat());
            Some("linked.dll".into())
        }
        _ => None,
    }
}

#[test]
#[ignore = "needs lld and llvm: tests/slow.sh systems"]
fn libraries_of_the_other_systems_are_linked() {
    if !have("llvm-readobj") {
        return;
    }
    for (name, picture, _) in NETWORKS {
        let place = place(name, picture);
        for system in SYSTEMS.iter().filter(|system| system.tested == Tested::Linked) {
            build(&place, name, system.triple, &["--train"]);
            let [object, ..] = system.files(name);
            let Some(linked) = link(&place, system, name) else { continue };
            for file in [format!("lib/{object}"), linked.clone()] {
                let output = place.start("llvm-readobj", &["--all", "--coff-exports", &file]).output().expect("starts");
                let (out, err) = texts(&output);
                assert!(output.status.success() && err.is_empty(), "{}: {file}: {err}", system.triple);
                assert!(out.contains(&format!("{name}_run")), "{}: {file}", system.triple);
            }
            if system.family == Family::WindowsMsvc {
                let frames = place.good("llvm-readobj", &["--unwind", &linked]);
                assert!(frames.matches("RuntimeFunction {").count() > 30, "{frames}");
            }
            eprintln!("{name}: {}: linked", system.triple);
        }
    }
}
