//! The systems that libraries are built for: what differs between them, in one place.

use Family::*;
use Processor::*;

/// A system, by its target triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct System {
    /// What `--target` and Cranelift call it.
    pub triple: &'static str,
    /// Its processors.
    pub processor: Processor,
    /// The kind of system.
    pub family: Family,
    /// What ninc's tests do with libraries for it.
    pub tested: Tested,
}

/// Processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// x86 with 64 bits.
    X86_64,
    /// ARM with 64 bits.
    Aarch64,
    /// RISC-V with 64 bits, multiplication, atomics, floats of 32 and 64 bits; no vectors.
    Riscv64,
}

/// Kinds of systems, by their C library where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Linux with glibc.
    Gnu,
    /// Linux with musl.
    Musl,
    /// Android.
    Android,
    /// macOS and iOS.
    Apple,
    /// Windows, linked by MinGW.
    WindowsGnu,
    /// Windows, linked by Microsoft's linker.
    WindowsMsvc,
}

/// How far ninc's tests go on a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// Programs run, on such a machine or in this emulator.
    Run(Option<&'static str>),
    /// Programs are linked and their files read by a second reader; nothing runs.
    Linked,
}

impl Tested {
    /// Says it in words.
    pub fn words(self) -> String {
        match self {
            Tested::Run(None) => "run".into(),
            Tested::Run(Some(emulator)) => format!("run in {emulator}"),
            Tested::Linked => "linked, not run".into(),
        }
    }
}

/// All systems. The first two are those that ninc itself runs on.
pub const SYSTEMS: [System; 10] = [
    system("x86_64-unknown-linux-gnu", X86_64, Gnu, Tested::Run(None)),
    system("aarch64-unknown-linux-gnu", Aarch64, Gnu, Tested::Run(Some("qemu"))),
    system("x86_64-unknown-linux-musl", X86_64, Musl, Tested::Run(None)),
    system("riscv64gc-unknown-linux-gnu", Riscv64, Gnu, Tested::Run(Some("qemu"))),
    system("aarch64-linux-android", Aarch64, Android, Tested::Linked),
    system("x86_64-pc-windows-gnu", X86_64, WindowsGnu, Tested::Run(Some("wine"))),
    system("x86_64-pc-windows-msvc", X86_64, WindowsMsvc, Tested::Linked),
    system("x86_64-apple-darwin", X86_64, Apple, Tested::Linked),
    system("aarch64-apple-darwin", Aarch64, Apple, Tested::Linked),
    system("aarch64-apple-ios", Aarch64, Apple, Tested::Linked),
];

const fn system(triple: &'static str, processor: Processor, family: Family, tested: Tested) -> System {
    System { triple, processor, family, tested }
}

/// Pages of the driver that only some systems have.
const POSIX: &str = include_str!("driver/posix.driver");
const LINUX: &str = include_str!("driver/linux.driver");
const APPLE: &str = include_str!("driver/apple.driver");
const WINDOWS: &str = include_str!("driver/windows.driver");
const MODE_STATX: &str = include_str!("driver/mode_statx.driver");
const MODE_STAT: &str = include_str!("driver/mode_stat.driver");
const SAVE_POSIX: &str = include_str!("driver/save_posix.driver");
const SAVE_WINDOWS: &str = include_str!("driver/save_windows.driver");

impl System {
    /// Finds a system by its triple.
    pub fn named(triple: &str) -> Option<&'static System> {
        SYSTEMS.iter().find(|system| system.triple == triple)
    }

    /// Returns this machine's system, if libraries can be built for it.
    pub fn host() -> Option<&'static System> {
        match (cfg!(target_arch = "x86_64"), cfg!(target_arch = "aarch64")) {
            (true, _) => Some(&SYSTEMS[0]),
            (_, true) => Some(&SYSTEMS[1]),
            _ => None,
        }
    }

    /// Do its programs run on this machine?
    pub fn is_native(&self) -> bool {
        let linux = matches!(self.family, Gnu | Musl);
        linux && System::host().is_some_and(|host| host.processor == self.processor)
    }

    /// Are its processors x86-64?
    pub fn x86(&self) -> bool {
        self.processor == X86_64
    }

    /// Is it Windows?
    pub fn windows(&self) -> bool {
        matches!(self.family, WindowsGnu | WindowsMsvc)
    }

    /// Does the system let programs use matrix units (AMX) when they ask as Linux wants to be asked?
    pub fn has_tiles(&self) -> bool {
        self.x86() && matches!(self.family, Gnu | Musl)
    }

    /// Can the system's pages be larger than 4 KiB?
    pub fn pages_are_larger(&self) -> bool {
        self.processor == Aarch64
    }

    /// Returns data that the driver names and the linker makes: what tells a library's functions at exit from others'.
    pub fn linker_data(&self) -> &'static [&'static str] {
        if self.family == Apple { &["__dso_handle"] } else { &[] }
    }

    /// Returns the driver's pages of this system; those for `training` too.
    pub fn driver(&self, training: bool) -> Vec<&'static str> {
        let (mut pages, saving) = match self.family {
            Gnu | Musl => (vec![POSIX, LINUX], [MODE_STATX, SAVE_POSIX]),
            Android => (vec![POSIX, LINUX], [MODE_STAT, SAVE_POSIX]),
            Apple => (vec![POSIX, APPLE], [MODE_STAT, SAVE_POSIX]),
            WindowsGnu | WindowsMsvc => (vec![WINDOWS], ["", SAVE_WINDOWS]),
        };
        if training {
            pages.extend(saving);
        }
        pages
    }

    /// Returns numbers of the system that these pages name: Linux's calls, which older processors number by
    /// themselves, and the place of a file's mode in `struct stat`.
    pub fn constants(&self) -> Vec<(String, i64)> {
        let [futex, statx] = if self.x86() { [202, 332] } else { [98, 291] };
        let mut all = vec![("SYS_FUTEX".into(), futex), ("SYS_STATX".into(), statx)];
        if self.family == Android {
            all.push(("STAT_MODE".into(), 16));
        }
        all
    }

    /// Returns functions of the C library that have other symbols than their names: the name and the symbol.
    pub fn symbols(&self) -> &'static [(&'static str, &'static str)] {
        match (self.family, self.processor) {
            (Apple, X86_64) => &[("stat", "stat$INODE64")],
            _ => &[],
        }
    }

    /// Returns the names of the object, the archive and the shared library of a network.
    pub fn files(&self, name: &str) -> [String; 3] {
        match self.family {
            WindowsMsvc => [format!("{name}.obj"), format!("{name}.lib"), format!("{name}.dll")],
            WindowsGnu => [format!("{name}.o"), format!("lib{name}.a"), format!("{name}.dll")],
            Apple => [format!("{name}.o"), format!("lib{name}.a"), format!("lib{name}.dylib")],
            Gnu | Musl | Android => [format!("{name}.o"), format!("lib{name}.a"), format!("lib{name}.so")],
        }
    }

    /// Returns what a shared library says it needs, where ninc writes one: before glibc 2.34 threads have a library of
    /// their own, which is still there.
    pub fn shared_needs(&self) -> Option<&'static [&'static str]> {
        match self.family {
            Gnu => Some(&["libpthread.so.0", "libc.so.6"]),
            Musl | Android => Some(&["libc.so"]),
            Apple | WindowsGnu | WindowsMsvc => None,
        }
    }

    /// Returns the command that makes a shared library of the object, where ninc writes none.
    pub fn link_shared(&self, name: &str) -> Option<String> {
        let [object, _, shared] = self.files(name);
        if self.shared_needs().is_some() {
            return None;
        }
        Some(match (self.family, self.processor) {
            (WindowsMsvc, _) => {
                format!("link /dll /def:{name}.def /out:{shared} {object} msvcrt.lib vcruntime.lib ucrt.lib")
            }
            (WindowsGnu, _) => format!("{} -shared {name}.def {object} -o {shared}", self.compiler()),
            (Apple, _) => format!("{} -dynamiclib {object} -install_name @rpath/{shared} -o {shared}", self.compiler()),
            _ => format!("{} -shared {object} -lpthread -o {shared}", self.compiler()),
        })
    }

    /// Returns a compiler for C programs on this system, as it is usually called.
    pub fn compiler(&self) -> &'static str {
        match (self.family, self.processor) {
            (Gnu, _) if self.is_native() => "cc",
            (Gnu, X86_64) => "x86_64-linux-gnu-gcc",
            (Gnu, Aarch64) => "aarch64-linux-gnu-gcc",
            (Gnu, Riscv64) => "riscv64-linux-gnu-gcc",
            (Musl, _) => "musl-gcc",
            (Android, _) => "aarch64-linux-android21-clang",
            (Apple, X86_64) => "clang -arch x86_64",
            (Apple, _) if self.triple.ends_with("ios") => "xcrun -sdk iphoneos clang -arch arm64",
            (Apple, _) => "clang -arch arm64",
            (WindowsGnu, _) => "x86_64-w64-mingw32-gcc",
            (WindowsMsvc, _) => "cl",
        }
    }

    /// Returns the command that compiles and links the example in C.
    pub fn compile_example(&self, name: &str) -> String {
        let [_, archive, _] = self.files(name);
        match self.family {
            WindowsMsvc => format!("{} /O2 classify.c {archive}", self.compiler()),
            _ => format!(
                "{} -O2 -DPNG -DJPEG classify.c {archive} -lpng -ljpeg{} -o classify",
                self.compiler(),
                self.threads()
            ),
        }
    }

    /// Returns what stands behind a library in the line that links it: the library for threads, where it is another.
    pub fn threads(&self) -> &'static str {
        if self.family == Gnu { " -lpthread" } else { "" }
    }
}
