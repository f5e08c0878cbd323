//! Puts an empty OpenCL library on the linker's path: `cl-sys` asks for one, `src/lib.rs` defines what would be in it.

use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    // Zig's linker takes no `.a` for a library that may be shared; what a file is, linkers see from its first bytes.
    for name in ["libOpenCL.a", "libOpenCL.so", "OpenCL.lib"] {
        // An archive without members.
        std::fs::write(folder.join(name), b"!<arch>\n").expect("OUT_DIR can be written");
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
}
