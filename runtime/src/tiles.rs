//! Tile registers (AMX) of this machine: whether programs of this process may use them.
//!
//! Their state takes 8 KiB a thread, so Linux wants to be asked once a process before any of its threads, or those of
//! its children, touches them.

/// Does the processor multiply tiles of bf16 and of bytes, and does the system let this process use them? Asks the
/// system at the first call.
pub fn permitted() -> bool {
    use std::sync::OnceLock;
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| present() && granted())
}

/// Is the processor one of Intel's?
#[cfg(target_arch = "x86_64")]
pub fn by_intel() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn present() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // AMX-BF16, AMX-TILE, AMX-INT8, in tiles of 16 rows of 64 bytes, eight of them (palette 1).
    let tiles = __cpuid_count(7, 0).edx & TILES == TILES && __cpuid(0).eax >= 0x1d;
    let palette = if tiles { __cpuid_count(0x1d, 1) } else { return false };
    palette.ebx == 64 | 8 << 16 && palette.ecx & 0xffff == 16
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`: fails where the system does not know or does not allow it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[allow(unsafe_code)]
fn granted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0 }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn present() -> bool {
    false
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn granted() -> bool {
    false
}
