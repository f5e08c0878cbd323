//! The machine's MPI library, found when the program runs: Open MPI, or MPICH and its family (Intel MPI, MVAPICH,
//! Cray).
//!
//! The two differ in what handles are: addresses of the library's symbols, or numbers. Both are passed as a register of
//! the machine's width here, whose lower half is the number. One of the named places of `unsafe`: calls of MPI.

use crate::ranks::Memory;
use crate::{Error, Result};
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

/// Who started the program, as far as its environment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// `mpirun` of Open MPI.
    OpenMpi,
    /// `mpirun` of MPICH or a relative, or `srun` with PMI-1 or PMI-2.
    Mpich,
    /// `srun` with PMIx, which both kinds understand.
    Pmix,
}

/// Files that the system's loader is asked for.
const OPEN_MPI: [&str; 2] = ["libmpi.so.40", "libmpi.so"];
const MPICH: [&str; 3] = ["libmpich.so.12", "libmpi.so.12", "libmpi_cray.so.12"];

const THREAD_FUNNELED: c_int = 1;

type Handle = usize;
type Init = unsafe extern "C" fn(*mut c_int, *mut c_void, c_int, *mut c_int) -> c_int;
type Plain = unsafe extern "C" fn() -> c_int;
type Number = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
type Pair = unsafe extern "C" fn(Handle, Handle) -> c_int;
type Abort = unsafe extern "C" fn(Handle, c_int) -> c_int;
type Test = unsafe extern "C" fn(*mut Handle, *mut c_int, *mut c_void) -> c_int;
type AllToAll = unsafe extern "C" fn(
    *const c_void,
    *const c_int,
    *const c_int,
    Handle,
    *mut c_void,
    *const c_int,
    *const c_int,
    Handle,
    Handle,
    *mut Handle,
) -> c_int;
type AllGather = unsafe extern "C" fn(
    *const c_void,
    c_int,
    Handle,
    *mut c_void,
    *const c_int,
    *const c_int,
    Handle,
    Handle,
    *mut Handle,
) -> c_int;

/// The functions that are used, and the handles that they are given.
pub struct Functions {
    world: Handle,
    byte: Handle,
    finalize: Symbol<Plain>,
    abort: Symbol<Abort>,
    test: Symbol<Test>,
    all_to_all: Symbol<AllToAll>,
    all_gather: Symbol<AllGather>,
    /// This process's number, and how many there are.
    pub rank: usize,
    pub count: usize,
    // Last, so that it is closed after its functions are gone.
    _library: Library,
}

/// What an operation under way uses until it is done.
pub struct Request {
    handle: Handle,
    /// Numbers of bytes and where they begin, for what is sent and what is received.
    numbers: [Vec<c_int>; 4],
    pub memory: Memory,
}

impl Launcher {
    /// Returns who started this process as one of several; `None`: it was started alone.
    pub fn found() -> Option<Launcher> {
        let several = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok().filter(|count| *count > 1);
        if several("OMPI_COMM_WORLD_SIZE").is_some() {
            return Some(Launcher::OpenMpi);
        }
        if several("PMI_SIZE").is_some() {
            return Some(Launcher::Mpich);
        }
        let tasks = several("SLURM_STEP_NUM_TASKS").is_some() && std::env::var_os("PMIX_RANK").is_some();
        tasks.then_some(Launcher::Pmix)
    }

    fn names(self) -> Vec<String> {
        if let Ok(name) = std::env::var("NINC_MPI") {
            return vec![name];
        }
        let names: Vec<&str> = match self {
            Launcher::OpenMpi => OPEN_MPI.to_vec(),
            Launcher::Mpich => MPICH.to_vec(),
            Launcher::Pmix => [&OPEN_MPI[..], &MPICH].concat(),
        };
        names.into_iter().map(String::from).collect()
    }
}

fn open(launcher: Launcher) -> Result<Library> {
    let mut problems = Vec::new();
    for name in launcher.names() {
        // Open MPI's own modules look for the symbols of what is loaded already.
        // SAFETY: opening a library runs its initialisers; the system's MPI, or the one that the user names, is
        // trusted as the system's C library is.
        #[allow(unsafe_code)]
        let opened = unsafe { Library::open(Some(&name), RTLD_NOW | RTLD_GLOBAL) };
        match opened {
            Ok(library) => return Ok(library),
            Err(e) => problems.push(e.to_string()),
        }
    }
    let found = problems.join("; ");
    Err(Error::new(format!("this process is one of several, but there is no MPI library: {found}"))
        .with_help("install the one whose `mpirun` this is, or name its file with NINC_MPI"))
}

impl Functions {
    /// Opens the library and joins the other processes.
    pub fn init(launcher: Launcher) -> Result<Functions> {
        let library = open(launcher)?;
        let lacks = |e: libloading::Error| Error::new(format!("the MPI library lacks a function: {e}"));
        // SAFETY: the types are those of the functions in both families' headers, with handles as wide as a register,
        // in whose lower half the calling conventions of x86-64 and AArch64 pass numbers; addresses of symbols are
        // only passed on. The functions are dropped before the library.
        #[allow(unsafe_code)]
        unsafe {
            let address = |name: &str| library.get::<*mut c_void>(name.as_bytes()).ok().map(|s| s.into_raw() as Handle);
            let open_mpi = address("ompi_mpi_comm_world").zip(address("ompi_mpi_byte"));
            let errors = address("ompi_mpi_errors_return").unwrap_or(0x5400_0001);
            let (world, byte) = open_mpi.unwrap_or((0x4400_0000, 0x4c00_010d));
            let init: Symbol<Init> = library.get(b"MPI_Init_thread").map_err(lacks)?;
            let rank_of: Symbol<Number> = library.get(b"MPI_Comm_rank").map_err(lacks)?;
            let size_of: Symbol<Number> = library.get(b"MPI_Comm_size").map_err(lacks)?;
            let handler: Symbol<Pair> = library.get(b"MPI_Comm_set_errhandler").map_err(lacks)?;
            let (mut level, mut rank, mut count) = (0, 0, 0);
            done("MPI_Init_thread", init(null_mut(), null_mut(), THREAD_FUNNELED, &mut level))?;
            // Errors are answers, not the end of the program.
            done("MPI_Comm_set_errhandler", handler(world, errors))?;
            done("MPI_Comm_rank", rank_of(world, &mut rank))?;
            done("MPI_Comm_size", size_of(world, &mut count))?;
            Ok(Functions {
                world,
                byte,
                finalize: library.get(b"MPI_Finalize").map_err(lacks)?,
                abort: library.get(b"MPI_Abort").map_err(lacks)?,
                test: library.get(b"MPI_Test").map_err(lacks)?,
                all_to_all: library.get(b"MPI_Ialltoallv").map_err(lacks)?,
                all_gather: library.get(b"MPI_Iallgatherv").map_err(lacks)?,
                rank: rank.max(0) as usize,
                count: count.max(1) as usize,
                _library: library,
            })
        }
    }

    /// Starts to send each process its part of `sent`.
    pub fn all_to_all(&self, memory: Memory, counts: &[usize], from: &[usize]) -> Result<Box<Request>> {
        let mut request = Request::new(memory, counts, from)?;
        let Request { handle, numbers: [counts, starts, from, from_starts], memory } = &mut *request;
        let Memory { sent, received } = memory;
        // SAFETY: the request holds all memory until the operation is done: both buffers are as long as their counts
        // say (`Request::new`), which are as many as there are processes.
        #[allow(unsafe_code)]
        let answer = unsafe {
            (self.all_to_all)(
                sent.as_ptr().cast(),
                counts.as_ptr(),
                starts.as_ptr(),
                self.byte,
                received.as_mut_ptr().cast(),
                from.as_ptr(),
                from_starts.as_ptr(),
                self.byte,
                self.world,
                handle,
            )
        };
        done("MPI_Ialltoallv", answer)?;
        Ok(request)
    }

    /// Starts to give all processes the beginning of what is sent.
    pub fn all_gather(&self, memory: Memory, counts: &[usize]) -> Result<Box<Request>> {
        let own = [counts[self.rank]];
        let mut request = Request::new(memory, &own, counts)?;
        let Request { handle, numbers: [own, _, from, starts], memory } = &mut *request;
        let Memory { sent, received } = memory;
        // SAFETY: as above.
        #[allow(unsafe_code)]
        let answer = unsafe {
            (self.all_gather)(
                sent.as_ptr().cast(),
                own[0],
                self.byte,
                received.as_mut_ptr().cast(),
                from.as_ptr(),
                starts.as_ptr(),
                self.byte,
                self.world,
                handle,
            )
        };
        done("MPI_Iallgatherv", answer)?;
        Ok(request)
    }

    /// Is the operation done?
    pub fn test(&self, request: &mut Request) -> Result<bool> {
        let mut flag = 0;
        // Larger than a status of either family.
        let mut status = [0u64; 16];
        // SAFETY: the request is one that was started and is not done; the status has room.
        #[allow(unsafe_code)]
        let answer = unsafe { (self.test)(&mut request.handle, &mut flag, status.as_mut_ptr().cast()) };
        done("MPI_Test", answer)?;
        Ok(flag != 0)
    }

    /// Leaves, once all processes do.
    pub fn finalize(&self) {
        // SAFETY: nothing is under way, and this is the last call.
        #[allow(unsafe_code)]
        unsafe {
            (self.finalize)();
        }
    }

    /// Ends all processes.
    pub fn abort(&self) {
        // SAFETY: it may be called at any time after the start.
        #[allow(unsafe_code)]
        unsafe {
            (self.abort)(self.world, 1);
        }
    }
}

impl Request {
    fn new(mut memory: Memory, counts: &[usize], from: &[usize]) -> Result<Box<Request>> {
        let large = || Error::new("too many bytes for one message of MPI").with_help("take more ranks");
        let number = |bytes: usize| c_int::try_from(bytes).map_err(|_| large());
        let numbers = |sizes: &[usize]| -> Result<[Vec<c_int>; 2]> {
            let (mut counts, mut starts, mut at) = (Vec::new(), Vec::new(), 0);
            for size in sizes {
                counts.push(number(*size)?);
                starts.push(number(at)?);
                at += size;
            }
            Ok([counts, starts])
        };
        let ([counts, starts], [from_counts, from_starts]) = (numbers(counts)?, numbers(from)?);
        let bytes = |counts: &[c_int]| counts.iter().map(|count| *count as usize).sum::<usize>();
        if bytes(&counts) > memory.sent.len() || bytes(&from_counts) != memory.received.len() {
            return Err(Error::new("a message to the other ranks has another length than was said"));
        }
        // Without memory the address would be 1, by which Open MPI means something else (`MPI_IN_PLACE`).
        memory.sent.reserve(1);
        memory.received.reserve(1);
        Ok(Box::new(Request { handle: 0, numbers: [counts, starts, from_counts, from_starts], memory }))
    }
}

/// Makes an error of a function's answer.
fn done(function: &str, answer: c_int) -> Result<()> {
    match answer {
        0 => Ok(()),
        code => Err(Error::new(format!("{function} failed (code {code}): the other ranks cannot be reached"))),
    }
}
