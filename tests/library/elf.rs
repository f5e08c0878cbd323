//! What tools find in a built library: symbols, stack frames, a number of the build; a debugger unwinds through its
//! code.

use super::{Place, have, texts};
use ninc::library::error::LibraryError;
use ninc::library::{archive, shared};
use object::read::{Object, ObjectSection, ObjectSymbol};
use object::write::{self, StandardSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope, elf};
use std::fs;

fn symbols(bytes: &[u8]) -> Vec<String> {
    let file = object::File::parse(bytes).expect("an object");
    file.symbols().filter_map(|s| s.name().ok().map(String::from)).collect()
}

#[test]
fn shared_libraries_have_what_tools_read() {
    let place = Place::trained(1, "[scale]");
    place.build("one", &["--cpu", "x86-64-v3"]);
    place.build("other", &["--cpu", "baseline"]);
    let read = |folder: &str| fs::read(place.path(folder).join("libsmall.so")).expect("written");
    let (one, other) = (read("one"), read("other"));
    let (file, second) = (object::File::parse(&*one).expect("ELF"), object::File::parse(&*other).expect("ELF"));
    for name in [".gnu.hash", ".eh_frame", ".eh_frame_hdr", ".note.gnu.build-id", ".fini_array", ".symtab"] {
        let section = file.section_by_name(name).unwrap_or_else(|| panic!("no section {name}"));
        assert!(section.size() > 0, "{name}");
    }
    let id = |file: &object::File| file.build_id().expect("readable").expect("there").to_vec();
    assert_eq!(id(&file).len(), 16);
    assert_ne!(id(&file), id(&second));
    // The same object with another C library is another build.
    place.build("musl", &["--cpu", "x86-64-v3", "--target", "x86_64-unknown-linux-musl"]);
    place.build("gnu", &["--cpu", "x86-64-v3", "--target", "x86_64-unknown-linux-gnu"]);
    let (gnu, musl) = (read("gnu"), read("musl"));
    let built = |bytes: &[u8]| id(&object::File::parse(bytes).expect("ELF"));
    assert_ne!(built(&gnu), built(&musl));
    // Exported functions for programs, all of them for debuggers, in the object as well.
    let exported: Vec<_> = file.dynamic_symbols().filter(|s| s.is_definition()).collect();
    assert!(exported.iter().all(|s| s.name().is_ok_and(|n| n.starts_with("small_"))) && exported.len() >= 20);
    for bytes in [&one, &fs::read(place.path("one/small.o")).expect("written")] {
        let names = symbols(bytes);
        for wanted in ["small.launches", "small_run", "small.0.kernel0_", "small.0.micro_kernel"] {
            assert!(names.iter().any(|n| n.starts_with(wanted)), "no symbol {wanted}: {names:?}");
        }
    }
    // Libraries that hold threads on older systems and on newer ones.
    if have("readelf") {
        let text = place.good("readelf", &["-dW", "one/libsmall.so"]);
        assert!(text.contains("[libpthread.so.0]") && text.contains("[libc.so.6]"), "{text}");
        let all = place.good("readelf", &["-aW", "one/libsmall.so"]);
        assert!(!all.contains("Warning") && !all.contains("Error"), "{all}");
    }
}

/// Starts a program in the debugger and stops it in `main`, then goes on by the script.
fn debug(place: &Place, program: &[&str], script: &str) -> String {
    let start = "set pagination off\nset confirm off\ntbreak main\nrun\n";
    fs::write(place.path("script.gdb"), format!("{start}{script}")).expect("written");
    let arguments = [&["-q", "-batch", "-x", "script.gdb", "--args"], program].concat();
    let output = place.start("gdb", &arguments).env("LD_LIBRARY_PATH", "lib").output().expect("starts");
    let (out, err) = texts(&output);
    out + &err
}

/// Stops in every micro-kernel that a run calls, makes steps there, and looks for `main` behind each of them.
fn unwinds(place: &Place, program: &[&str], symbols: &[String]) {
    // Instructions of a micro-kernel's start, where the stack pointer moves.
    const STEPS: usize = 12;
    // At an address: behind what looks like the start of a C function the interesting part would be over.
    let mut script: String = symbols.iter().map(|name| format!("tbreak *'{name}'\n")).collect();
    script += "continue\n";
    for _ in symbols {
        script += &format!("set $i = 0\nwhile $i < {STEPS}\nbt\nstepi\nset $i = $i + 1\nend\ncontinue\n");
    }
    let out = debug(place, program, &script);
    // Where the system lets nobody debug, nothing is shown.
    if out.contains("ptrace") || out.contains("Operation not permitted") {
        eprintln!("skipped: gdb may not debug here");
        return;
    }
    let count = |wanted: &str| out.lines().filter(|l| l.starts_with('#') && l.contains(wanted)).count();
    let stacks = out.lines().filter(|l| l.starts_with("#0 ")).count();
    assert!(stacks >= 3 * STEPS, "{stacks} stacks only:\n{out}");
    for frame in [" in main ", "launches"] {
        assert_eq!(count(frame), stacks, "{frame}:\n{out}");
    }
    // Weights are packed when the network is created.
    let (create, run) = (count(" in small_create"), count(" in small_run"));
    assert!(create > 0 && run > 0 && create + run == stacks, "{create} + {run} of {stacks}:\n{out}");
}

#[test]
fn a_debugger_unwinds_through_kernels() {
    if !have("gdb") || !have("cc") {
        return;
    }
    let place = Place::trained(1, "[scale]");
    place.build("lib", &["--cpu", "x86-64-v3"]);
    let object = fs::read(place.path("lib/small.o")).expect("written");
    let names: Vec<String> = symbols(&object).into_iter().filter(|n| n.starts_with("small.0.micro_kernel")).collect();
    assert!(names.len() > 2, "{names:?}");
    let arguments = ["lib/small.safetensors", "a.ppm"];
    place.good("cc", &["-O1", "lib/classify.c", "lib/libsmall.a", "-lpthread", "-o", "static"]);
    unwinds(&place, &[&["./static"], &arguments[..]].concat(), &names);
    place.good("cc", &["-O1", "lib/classify.c", "-Llib", "-lsmall", "-o", "shared"]);
    unwinds(&place, &[&["./shared"], &arguments[..]].concat(), &names);
}

/// An object whose code refers to the end of `size` bytes of memory.
fn reaching(architecture: Architecture, r_type: u32, size: u64) -> Vec<u8> {
    let mut object = write::Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let (text, bss) = (object.section_id(StandardSection::Text), object.section_id(StandardSection::UninitializedData));
    object.append_section_data(text, &[0; 16], 16);
    let symbol = |name: &str, value, section, kind| write::Symbol {
        name: name.into(),
        value,
        size: 8,
        kind,
        scope: SymbolScope::Compilation,
        weak: false,
        section: write::SymbolSection::Section(section),
        flags: SymbolFlags::None,
    };
    object.append_section_bss(bss, size, 8);
    let far = object.add_symbol(symbol("far", size - 8, bss, SymbolKind::Data));
    let flags = RelocationFlags::Elf { r_type };
    let relocation = write::Relocation { offset: 4, symbol: far, addend: -4, flags };
    object.add_relocation(text, relocation).expect("a relocation of ELF");
    object.write().expect("an object")
}

#[test]
fn what_cannot_become_a_library_is_an_error() {
    let x86 = |size| reaching(Architecture::X86_64, elf::R_X86_64_PC32, size);
    let arm = |size| reaching(Architecture::Aarch64, elf::R_AARCH64_ADR_PREL_PG_HI21, size);
    for (near, far) in [(x86(1 << 20), x86(3 << 30)), (arm(3 << 30), arm(5 << 30))] {
        shared::write("libx.so", &[], &near).expect("it is near enough");
        let error = shared::write("libx.so", &[], &far).expect_err("it is too far");
        assert!(matches!(error, LibraryError::Limit(_)) && error.to_string().contains("--embed"), "{error}");
    }
    for error in [shared::write("libx.so", &[], b"text"), archive::write("x.o", b"text")] {
        let error = error.expect_err("it is not an object");
        assert!(matches!(error, LibraryError::Internal(_)) && error.to_string().contains("report"), "{error}");
    }
    let other = reaching(Architecture::LoongArch64, elf::R_LARCH_B26, 8);
    assert_eq!(shared::write("libx.so", &[], &other), Err(LibraryError::Unsupported(Architecture::LoongArch64)));
}
