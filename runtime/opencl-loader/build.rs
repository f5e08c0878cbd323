//! Puts an empty OpenCL library on the linker's path: `cl-sys` asks for one, `src/lib.rs` defines what would be in it.

use std::path::PathBuf;

fn main() {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it for build scripts"));
    for name in ["libOpenCL.a", "OpenCL.lib"] {
        // An archive without members.
        std::fs::write(folder.join(name), b"!<arch>\n").expect("OUT_DIR can be written");
    }
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rerun-if-changed=build.rs");
}
