//! Machine code kept between starts, so that the second one need not compile.
//!
//! A file holds all that its code depends on, and is used only where that is the same byte for byte, so nothing rests
//! on a hash. Loaded code runs with the user's rights: the folder must be the user's own and closed to others, and
//! every file is checked as a whole. What does not fit is compiled again and written anew.

use cranelift_codegen::binemit::Reloc;
use cranelift_module::{FuncId, ModuleReloc, ModuleRelocTarget};
use ninc_runtime::data::files;
use ninc_runtime::store::{System, crc32, write_atomically};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The most bytes of code that are read.
const CAP: u64 = 1 << 28;
const MAGIC: &[u8; 8] = b"ninccode";

/// Relocations that code in memory has, by their number in a file.
const KINDS: [Reloc; 5] =
    [Reloc::X86CallPCRel4, Reloc::X86CallPLTRel4, Reloc::X86PCRel4, Reloc::Abs8, Reloc::Arm64Call];

/// A function's machine code.
#[derive(Clone)]
pub struct Piece {
    /// Alignment of its start, in bytes.
    pub align: u64,
    /// Machine code.
    pub bytes: Vec<u8>,
    /// Places in the code that take addresses of other functions.
    pub relocations: Vec<ModuleReloc>,
}

/// All that code depends on, as bytes. Takes what would be hashed: that names variants and lengths too, so that
/// different things never have the same bytes, and is much faster to write than their text.
#[derive(Default)]
pub struct Key(Vec<u8>);

impl Hasher for Key {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Only the file's name comes from a hash of the bytes.
    fn finish(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }
}

fn path(folder: &Path, key: &Key) -> PathBuf {
    folder.join(format!("{:016x}.code", key.finish()))
}

/// Reads the code that was kept under this key.
pub fn read(folder: &Path, key: &Key) -> Option<Vec<Piece>> {
    let bytes = files::read(&path(folder, key), CAP).ok()?;
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut input = Input(body);
    if crc32(body).to_le_bytes() != sum || input.take(8)? != MAGIC || input.block()? != key.0 {
        return None;
    }
    let count = input.number()?;
    let pieces = (0..count).map(|_| input.piece()).collect::<Option<Vec<_>>>()?;
    input.0.is_empty().then_some(pieces)
}

/// Keeps code; a failure only means that the next start compiles again.
pub fn write(folder: &Path, key: &Key, pieces: &[Piece]) {
    if let Some(bytes) = to_bytes(key, pieces) {
        let _ = write_atomically(&path(folder, key), &bytes, &System);
    }
}

/// Writes a cache file; `None` for code that refers to more than the functions beside it.
fn to_bytes(key: &Key, pieces: &[Piece]) -> Option<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    let number = |out: &mut Vec<u8>, value: u64| out.extend(value.to_le_bytes());
    number(&mut out, key.0.len() as u64);
    out.extend(&key.0);
    number(&mut out, pieces.len() as u64);
    for piece in pieces {
        number(&mut out, piece.align);
        number(&mut out, piece.bytes.len() as u64);
        out.extend(&piece.bytes);
        number(&mut out, piece.relocations.len() as u64);
        for r in &piece.relocations {
            let ModuleRelocTarget::User { namespace: 0, index } = r.name else { return None };
            let kind = KINDS.iter().position(|k| *k == r.kind)?;
            for value in [u64::from(r.offset), kind as u64, u64::from(index), r.addend as u64] {
                number(&mut out, value);
            }
        }
    }
    out.extend(crc32(&out).to_le_bytes());
    Some(out)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn piece(&mut self) -> Option<Piece> {
        let align = self.number().filter(|a| a.is_power_of_two() && *a <= 4096)?;
        let bytes = self.block()?.to_vec();
        let mut relocations = Vec::new();
        for _ in 0..self.number()? {
            let [offset, kind, index, addend] = [self.number()?, self.number()?, self.number()?, self.number()?];
            relocations.push(ModuleReloc {
                offset: u32::try_from(offset).ok().filter(|o| (*o as usize) < bytes.len())?,
                kind: *KINDS.get(usize::try_from(kind).ok()?)?,
                name: FuncId::from_u32(u32::try_from(index).ok()?).into(),
                addend: addend as i64,
            });
        }
        Some(Piece { align, bytes, relocations })
    }
}
