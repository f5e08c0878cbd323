//! Libraries for other systems: what their objects hold, by another reader; that programs with them give the bits of
//! this machine, where an emulator runs them; that linkers of the others take them.

use super::{Place, have};
use ninc::library::systems::{Family, Processor, SYSTEMS, System};
use object::read::archive::ArchiveFile;
use object::read::{Object, ObjectSection, ObjectSymbol, RelocationFlags};
use object::{Architecture, BinaryFormat, SymbolKind, elf, macho, pe};
use std::collections::BTreeSet;
use std::fs;

/// Functions of every C library that a library without training calls.
const ALWAYS: &str = "malloc calloc free memcpy memcmp strlen";
const POSIX: &str = "open close lseek pread pthread_create pthread_join pthread_sigmask sched_yield";
const LINUX: &str = "madvise sched_getaffinity syscall";
const APPLE: &str = "getpid sysconf pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_unlock \
                     pthread_cond_init pthread_cond_destroy pthread_cond_wait pthread_cond_broadcast __cxa_atexit \
                     __dso_handle";
const KERNEL32: &str = "CreateFileW GetFileSizeEx ReadFile CloseHandle MultiByteToWideChar CreateThread \
                        WaitForSingleObject SwitchToThread AcquireSRWLockExclusive ReleaseSRWLockExclusive \
                        SleepConditionVariableSRW WakeAllConditionVariable GetCurrentProcess GetProcessAffinityMask \
                        GetModuleHandleExW";
/// What training adds.
const SAVE_POSIX: &str = "write fsync rename unlink readlink fchmod";
const SAVE_KERNEL32: &str = "WriteFile FlushFileBuffers MoveFileExW DeleteFileW GetFileAttributesW";

/// The C library's functions that a library for a system may call.
pub fn imports(system: &System, training: bool) -> BTreeSet<String> {
    let (own, saving) = match system.family {
        Family::Gnu | Family::Musl => ([POSIX, LINUX], [SAVE_POSIX, ""]),
        Family::Android => ([POSIX, LINUX], [SAVE_POSIX, "stat"]),
        Family::Apple if system.x86() => ([POSIX, APPLE], [SAVE_POSIX, "stat$INODE64"]),
        Family::Apple => ([POSIX, APPLE], [SAVE_POSIX, "stat"]),
        Family::WindowsGnu | Family::WindowsMsvc => ([KERNEL32, ""], [SAVE_KERNEL32, ""]),
    };
    let lists = [ALWAYS].into_iter().chain(own).chain(saving.into_iter().filter(|_| training));
    lists.flat_map(str::split_whitespace).map(String::from).collect()
}

/// The format of a system's files, its processor and the name of a relocation's type.
fn format(system: &System) -> (BinaryFormat, Architecture) {
    let format = match system.family {
        Family::Gnu | Family::Musl | Family::Android => BinaryFormat::Elf,
        Family::Apple => BinaryFormat::MachO,
        Family::WindowsGnu | Family::WindowsMsvc => BinaryFormat::Coff,
    };
    let processor = match system.processor {
        Processor::X86_64 => Architecture::X86_64,
        Processor::Aarch64 => Architecture::Aarch64,
        Processor::Riscv64 => Architecture::Riscv64,
    };
    (format, processor)
}

/// May code and data of a library have such a reference? What needs a table that the system's linkers do not make, or
/// text that the loader changes, may not stand there.
fn expected_relocation(flags: RelocationFlags, processor: Processor) -> bool {
    match (flags, processor) {
        (RelocationFlags::Elf { r_type }, Processor::X86_64) => {
            [elf::R_X86_64_64, elf::R_X86_64_PC32, elf::R_X86_64_PLT32, elf::R_X86_64_GOTPCREL].contains(&r_type)
        }
        (RelocationFlags::Elf { r_type }, Processor::Aarch64) => [
            elf::R_AARCH64_ABS64,
            elf::R_AARCH64_PREL32,
            elf::R_AARCH64_CALL26,
            elf::R_AARCH64_ADR_PREL_PG_HI21,
            elf::R_AARCH64_ADD_ABS_LO12_NC,
            elf::R_AARCH64_ADR_GOT_PAGE,
            elf::R_AARCH64_LD64_GOT_LO12_NC,
        ]
        .contains(&r_type),
        (RelocationFlags::Elf { r_type }, Processor::Riscv64) => [
            elf::R_RISCV_64,
            elf::R_RISCV_32_PCREL,
            elf::R_RISCV_CALL_PLT,
            elf::R_RISCV_GOT_HI20,
            elf::R_RISCV_PCREL_HI20,
            elf::R_RISCV_PCREL_LO12_I,
        ]
        .contains(&r_type),
        (RelocationFlags::MachO { r_type, .. }, Processor::X86_64) => [
            macho::X86_64_RELOC_UNSIGNED,
            macho::X86_64_RELOC_SIGNED,
            macho::X86_64_RELOC_BRANCH,
            macho::X86_64_RELOC_GOT_LOAD,
            macho::X86_64_RELOC_GOT,
        ]
        .contains(&r_type),
        (RelocationFlags::MachO { r_type, .. }, _) => [
            macho::ARM64_RELOC_UNSIGNED,
            macho::ARM64_RELOC_BRANCH26,
            macho::ARM64_RELOC_PAGE21,
            macho::ARM64_RELOC_PAGEOFF12,
            macho::ARM64_RELOC_GOT_LOAD_PAGE21,
            macho::ARM64_RELOC_GOT_LOAD_PAGEOFF12,
        ]
        .contains(&r_type),
        (RelocationFlags::Coff { typ }, _) => {
            let known = [pe::IMAGE_REL_AMD64_ADDR64, pe::IMAGE_REL_AMD64_REL32, pe::IMAGE_REL_AMD64_ADDR32NB];
            known.contains(&typ)
        }
        _ => false,
    }
}

/// Looks at the object of a library: its format, what it gives, what it needs, its references, its frames.
fn look_at(system: &System, bytes: &[u8], training: bool) {
    let (triple, file) = (system.triple, object::File::parse(bytes).expect("an object"));
    assert_eq!((file.format(), file.architecture()), format(system), "{triple}");
    // Mach-O writes C's names with a `_` in front.
    let under = if system.family == Family::Apple { "_" } else { "" };
    let names = |wanted: &dyn Fn(&object::Symbol) -> bool| -> BTreeSet<String> {
        let names = file.symbols().filter(|s| wanted(s)).map(|s| s.name().expect("a name").to_string());
        let names = names.filter(|name| !name.is_empty());
        names.map(|name| name.strip_prefix(under).expect("a name of C").to_string()).collect()
    };
    assert_eq!(names(&|s| s.is_undefined()), imports(system, training), "{triple}");
    let given = names(&|s| s.is_global() && s.is_definition());
    for name in ["small_create", "small_run", "small_prepare_picture", "small_destroy", "small_message"] {
        assert!(given.contains(name), "{triple}: no {name} in {given:?}");
    }
    assert_eq!(given.contains("small_train_step"), training, "{triple}");
    assert!(given.iter().all(|name| name.starts_with("small_")), "{triple}: {given:?}");
    let mut references = 0;
    for section in file.sections() {
        for (_, relocation) in section.relocations() {
            references += 1;
            let flags = relocation.flags();
            assert!(expected_relocation(flags, system.processor), "{triple}: {flags:?} in {:?}", section.name());
        }
    }
    assert!(references > 100, "{triple}: {references}");
    let sections: &[&str] = match file.format() {
        BinaryFormat::Elf => &[".eh_frame", ".fini_array"],
        BinaryFormat::MachO => &["__compact_unwind"],
        _ => &[".pdata", ".xdata"],
    };
    for name in sections {
        let section = file.section_by_name(name).unwrap_or_else(|| panic!("{triple}: no section {name}"));
        assert!(section.size() > 0, "{triple}: {name}");
        // An entry of 32 bytes for each function, those of our own emitter too.
        if *name == "__compact_unwind" {
            let functions = file.symbols().filter(|s| s.is_definition() && s.kind() == SymbolKind::Text).count();
            assert_eq!(section.size(), 32 * functions as u64, "{triple}");
        }
    }
}

/// The archive's members and the symbols that its index finds are those of the object.
fn look_into(system: &System, archive: &[u8], object: &[u8]) {
    let file = ArchiveFile::parse(archive).expect("an archive");
    let members: Vec<_> = file.members().map(|m| m.expect("a member")).collect();
    assert_eq!(members.len(), 1, "{}", system.triple);
    let [own, ..] = system.files("small");
    assert_eq!(String::from_utf8_lossy(members[0].name()), own, "{}", system.triple);
    let data = members[0].data(archive).expect("within");
    assert_eq!(&data[..object.len()], object, "{}", system.triple);
    let indexed: BTreeSet<String> = file
        .symbols()
        .expect("an index")
        .expect("an index")
        .map(|s| String::from_utf8(s.expect("a symbol").name().to_vec()).expect("ASCII"))
        .collect();
    let own = ninc::library::archive::exported(object).expect("an object");
    assert_eq!(indexed, own.into_iter().collect(), "{}", system.triple);
}

#[test]
fn objects_of_all_systems_are_what_their_linkers_want() {
    let place = Place::trained(1, "[scale]");
    for (i, system) in SYSTEMS.iter().enumerate() {
        // The training step makes objects larger, not other.
        let training = i % 2 == 1;
        let mut more = vec!["--target", system.triple];
        more.extend(training.then_some("--train"));
        place.build("lib", &more);
        let read = |name: &str| fs::read(place.path("lib").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let [own, archive, shared] = system.files("small");
        let object = read(&own);
        look_at(system, &object, training);
        look_into(system, &read(&archive), &object);
        assert_eq!(place.path("lib").join(&shared).exists(), system.shared_needs().is_some(), "{shared}");
        let text = |name: &str| String::from_utf8(read(name)).expect("text");
        if let Some(line) = system.link_shared("small") {
            assert!(text("classify.py").contains(&line), "{line}");
        }
        if system.windows() {
            let list = text("small.def");
            assert!(list.starts_with("EXPORTS\n") && list.lines().any(|line| line.trim() == "small_run"), "{list}");
        }
        assert!(text("classify.c").contains(&archive), "{archive}");
        let description: serde_json::Value = serde_json::from_str(&text("small.json")).expect("JSON");
        assert_eq!(description["tested"], system.tested.words());
        fs::remove_dir_all(place.path("lib")).expect("removed");
    }
}

#[test]
fn what_was_not_run_is_said() {
    let place = Place::trained(1, "[scale]");
    let build = |triple: &str| place.good("ninc", &["build", "small.nin", "--target", triple]);
    for system in SYSTEMS.iter().filter(|system| !system.is_native()) {
        let out = build(system.triple);
        let line = out.lines().find(|line| line.starts_with("system")).expect("a line about the system");
        assert!(line.contains(system.triple) && line.contains(&system.tested.words()), "{line}");
    }
    assert!(!build(System::host().expect("a known one").triple).contains("tests of ninc"));
}

#[test]
fn matrix_units_are_for_linux_alone() {
    let place = Place::trained(1, "[scale]");
    let arguments = ["build", "small.nin", "--target", "x86_64-pc-windows-gnu", "--cpu", "x86-64-v4+amx"];
    let output = place.start("ninc", &arguments).output().expect("starts");
    let (_, err) = super::texts(&output);
    assert!(!output.status.success() && err.contains("only Linux") && err.contains("+amx"), "{err}");
}

/// Numbers of a result, by their bits in lines.
pub fn numbers(text: &str) -> Vec<u32> {
    text.lines().map(|line| u32::from_str_radix(line.trim(), 16).expect("eight digits")).collect()
}

/// Links the example of a library for another system with its archive and runs it as `run` says, `{}` being the
/// program; its result must have the bits of a library for this machine's processors without their newer instructions.
fn same_bits(triple: &str, compile: &[&str], run: &[&str]) {
    if !have(compile[0]) || run[0] != "{}" && !have(run[0]) || !have("cc") {
        return;
    }
    let system = System::named(triple).expect("a known one");
    let place = Place::trained(3, "[gcn(scale = 55), zca(epsilon = 0.1)]");
    let raw = ["--raw", "lib/small.safetensors", "a.ppm"];
    place.build("lib", &["--target", triple, "--cpu", "baseline"]);
    let [_, archive, _] = system.files("small");
    let archive = format!("lib/{archive}");
    let arguments: Vec<&str> = compile[1..].iter().copied().chain(["-O1", "lib/classify.c", &archive]).collect();
    place.good(compile[0], &[&arguments[..], &["-o", "other.exe"]].concat());
    let program = place.path("other.exe");
    let program = program.to_str().expect("a plain path");
    let run: Vec<&str> = run.iter().map(|word| if *word == "{}" { program } else { word }).collect();
    let got = numbers(&place.good(run[0], &[&run[1..], &raw].concat()));
    let expected = match system.processor {
        // Without fused multiply-add.
        Processor::X86_64 => {
            place.build("own", &["--cpu", "baseline"]);
            place.good("cc", &["-O1", "own/classify.c", "own/libsmall.a", "-lpthread", "-o", "own.exe"]);
            numbers(&place.good("./own.exe", &raw))
        }
        _ => portable(&place),
    };
    assert_eq!(got, expected, "{triple}");
    // By the shared library, where the emulator finds the system's loader.
    if system.processor == Processor::Riscv64 {
        place.good(compile[0], &["-O1", "lib/classify.c", "-Llib", "-lsmall", "-o", "shared"]);
        let loader = ["-L", "/usr/riscv64-linux-gnu", "-E", "LD_LIBRARY_PATH=lib", "./shared"];
        assert_eq!(numbers(&place.good(run[0], &[&loader[..], &raw].concat())), expected, "{triple}: shared");
    }
}

/// The bits of `ninc run --isa portable` for the picture.
fn portable(place: &Place) -> Vec<u32> {
    let caches = ["--isa", "portable", "--caches", "32K,1M,16M", "--threads", "1"];
    let run = ["run", "small.nin", "--weights", "w/small.safetensors", "a.png", "--output", "r.npy"];
    place.good("ninc", &[&run[..], &caches].concat());
    let result = ninc_runtime::npy::read(&place.path("r.npy")).expect("an array");
    result.data.iter().map(|v| v.to_bits()).collect()
}

#[cfg(target_arch = "x86_64")]
#[test]
fn musl_gives_the_same_bits() {
    same_bits("x86_64-unknown-linux-musl", &["musl-gcc", "-static"], &["{}"]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn riscv_gives_the_same_bits_under_emulation() {
    if !std::is_x86_feature_detected!("fma") {
        return;
    }
    same_bits("riscv64gc-unknown-linux-gnu", &["riscv64-linux-gnu-gcc", "-static"], &["qemu-riscv64", "{}"]);
}
