//! One opened device: context, queue, memory, kernels. All calls of OpenCL that read or write memory are here, so that
//! the rest needs no `unsafe`.

use super::Info;
use crate::{Error, Result};
use ocl::core::{
    self, CommandQueue, CommandQueueProperties, Context, ContextProperties, DeviceId, Event, Kernel, Mem, Program,
};
use ocl::ffi;
use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::ptr::{null, null_mut};
use std::time::Duration;

/// A failure that tests ask for: the next call of this kind fails as if the driver had said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The next allocation finds no memory.
    Memory,
    /// The device is gone at the next launch, and stays away.
    Lost,
}

/// Global memory of a device.
pub struct Memory {
    mem: Mem,
    len: usize,
}

impl Memory {
    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}

/// Bytes on their way to the device.
pub struct PendingUpload {
    event: Event,
    bytes: Vec<u8>,
}

impl Drop for PendingUpload {
    fn drop(&mut self) {
        // Where waiting fails the command has failed too, and reads the bytes no more.
        let _ = core::wait_for_event(&self.event);
    }
}

/// An argument of a kernel.
pub enum Argument<'a> {
    Memory(&'a Memory),
    Long(i64),
}

/// An opened device with its queues.
pub struct DeviceContext {
    /// What is known of the device.
    pub info: Info,
    queue: CommandQueue,
    /// The queue of transfers, beside which kernels of the other queue run.
    transfers: CommandQueue,
    context: Context,
    profiled: bool,
    /// Bytes on their way to the device; kept until it has them.
    sent: Vec<Vec<u8>>,
    fault: Cell<Option<Fault>>,
}

impl DeviceContext {
    /// Opens a device: its own context with a queue, whose commands run in order, and one for transfers beside it.
    pub fn open(info: Info) -> Result<DeviceContext> {
        let failed = |e: core::Error| explain(&info, "open", status(&e), &e.to_string());
        let properties = ContextProperties::new().platform(info.platform_id);
        let context = core::create_context(Some(&properties), &[info.id], None, None).map_err(failed)?;
        let queue = core::create_command_queue(&context, info.id, None).map_err(failed)?;
        let transfers = core::create_command_queue(&context, info.id, None).map_err(failed)?;
        Ok(DeviceContext { info, queue, transfers, context, profiled: false, sent: Vec::new(), fault: Cell::new(None) })
    }

    /// Makes a failure happen, for tests.
    pub fn inject(&self, fault: Fault) {
        self.fault.set(Some(fault));
    }

    /// Makes launches measure their times from now on, or no longer.
    pub fn set_profile(&mut self, on: bool) -> Result<()> {
        if on == self.profiled {
            return Ok(());
        }
        self.finish()?;
        let properties = on.then_some(CommandQueueProperties::PROFILING_ENABLE);
        let queue = core::create_command_queue(&self.context, self.info.id, properties);
        self.queue = queue.map_err(|e| explain(&self.info, "open a queue of", status(&e), &e.to_string()))?;
        self.profiled = on;
        Ok(())
    }

    fn check(&self, what: &str, code: i32) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(explain(&self.info, what, Some(code), "")) }
    }

    /// Allocates `len` zeros on the device.
    pub fn zeroed(&mut self, len: usize) -> Result<Memory> {
        let memory = self.room(len)?;
        // Drivers allocate as late as this.
        if self.fill(&memory, 0, memory.len) != 0 {
            return Err(no_memory(&self.info, memory.len));
        }
        self.finish()?;
        Ok(memory)
    }

    /// Allocates memory with anything in it.
    #[allow(unsafe_code)]
    pub fn room(&self, len: usize) -> Result<Memory> {
        let len = len.max(64);
        if self.fault.get() == Some(Fault::Memory) {
            self.fault.set(None);
            return Err(no_memory(&self.info, len));
        }
        if len as u64 > self.info.memory_bytes {
            return Err(no_memory(&self.info, len));
        }
        let mut code = 0;
        // SAFETY: the context is open; no host memory is given.
        let mem =
            unsafe { ffi::clCreateBuffer(self.context.as_ptr(), ffi::CL_MEM_READ_WRITE, len, null_mut(), &mut code) };
        if code != 0 || mem.is_null() {
            return Err(no_memory(&self.info, len));
        }
        // SAFETY: a new buffer, which nobody else releases.
        Ok(Memory { mem: unsafe { Mem::from_raw_create_ptr(mem) }, len })
    }

    /// Queues zeros for a place in memory.
    pub fn clear(&self, memory: &Memory, offset: usize, len: usize) -> Result<()> {
        assert!(offset + len <= memory.len, "zeros for a place outside of the memory");
        if len == 0 { Ok(()) } else { self.check("write to", self.fill(memory, offset, len)) }
    }

    #[allow(unsafe_code)]
    fn fill(&self, memory: &Memory, offset: usize, len: usize) -> i32 {
        assert!(offset + len <= memory.len);
        let (queue, mem, zero) = (self.queue.as_ptr(), memory.mem.as_ptr(), 0u8);
        let pattern = (&raw const zero).cast::<c_void>();
        // SAFETY: the pattern of one byte is read before the call returns; the range lies in the buffer (asserted).
        unsafe { ffi::clEnqueueFillBuffer(queue, mem, pattern, 1, offset, len, 0, null(), null_mut()) }
    }

    /// Lets the device start with what was queued, without waiting for it.
    #[allow(unsafe_code)]
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the queue is open.
        let code = unsafe { ffi::clFlush(self.queue.as_ptr()) };
        self.check("compute on", code)
    }

    /// Sends bytes to a place in memory, in the order of the queue, without waiting for them to arrive.
    #[allow(unsafe_code)]
    pub fn send(&mut self, to: &Memory, offset: usize, bytes: Vec<u8>) -> Result<()> {
        assert!(offset + bytes.len() <= to.len, "bytes for a place outside of the memory");
        if bytes.is_empty() {
            return Ok(());
        }
        let (queue, mem, data) = (self.queue.as_ptr(), to.mem.as_ptr(), bytes.as_ptr().cast::<c_void>());
        // SAFETY: the range lies in the buffer (asserted); the bytes live in `sent` until `finish` has waited for the
        // queue.
        let code = unsafe {
            ffi::clEnqueueWriteBuffer(queue, mem, ffi::CL_FALSE, offset, bytes.len(), data, 0, null(), null_mut())
        };
        self.sent.push(bytes);
        self.check("write to", code)
    }

    /// Starts an asynchronous upload to offset 0 of `to` on the transfer queue. No queued command may use `to`.
    #[allow(unsafe_code)]
    pub fn upload_async(&self, to: &Memory, bytes: Vec<u8>) -> Result<PendingUpload> {
        assert!(bytes.len() <= to.len, "bytes for a place outside of the memory");
        let (transfers, mem, data) = (self.transfers.as_ptr(), to.mem.as_ptr(), bytes.as_ptr().cast::<c_void>());
        let mut event = null_mut();
        // SAFETY: the range lies in the buffer (asserted); the upload keeps the bytes until the event has happened.
        let code = unsafe {
            ffi::clEnqueueWriteBuffer(transfers, mem, ffi::CL_FALSE, 0, bytes.len(), data, 0, null(), &mut event)
        };
        self.check("write to", code)?;
        // SAFETY: a new event, which nobody else releases.
        let upload = PendingUpload { event: unsafe { Event::from_raw_create_ptr(event) }, bytes };
        // SAFETY: the queue is open.
        self.check("write to", unsafe { ffi::clFlush(transfers) })?;
        Ok(upload)
    }

    /// Queues a copy of all that an upload brings, from its memory to a place in another.
    #[allow(unsafe_code)]
    pub fn finish_upload(&self, upload: &PendingUpload, from: &Memory, to: &Memory, offset: usize) -> Result<()> {
        let len = upload.bytes.len();
        assert!(len <= from.len && offset + len <= to.len, "a copy from or to a place outside of the memory");
        let queue = self.queue.as_ptr();
        // SAFETY: both ranges lie in their buffers (asserted), which are not the same; the event is of this context.
        let code = unsafe {
            let (from, to, event) = (from.mem.as_ptr(), to.mem.as_ptr(), upload.event.as_ptr_ref());
            ffi::clEnqueueCopyBuffer(queue, from, to, 0, offset, len, 1, event, null_mut())
        };
        self.check("write to", code)
    }

    /// Reads the bytes at a place in memory, after all that was queued before.
    #[allow(unsafe_code)]
    pub fn fetch(&self, from: &Memory, offset: usize, len: usize) -> Result<Vec<u8>> {
        assert!(offset + len <= from.len, "bytes from outside of the memory");
        if self.fault.get() == Some(Fault::Lost) {
            return Err(explain(&self.info, "read from", Some(DEVICE_NOT_AVAILABLE), ""));
        }
        let mut bytes = vec![0u8; len];
        if len == 0 {
            return Ok(bytes);
        }
        let (queue, mem, data) = (self.queue.as_ptr(), from.mem.as_ptr(), bytes.as_mut_ptr().cast::<c_void>());
        // SAFETY: the range lies in the buffer (asserted), `bytes` is as long; the call waits until it is filled.
        let code =
            unsafe { ffi::clEnqueueReadBuffer(queue, mem, ffi::CL_TRUE, offset, len, data, 0, null(), null_mut()) };
        self.check("read from", code)?;
        Ok(bytes)
    }

    /// Waits until all that was queued is done.
    #[allow(unsafe_code)]
    pub fn finish(&mut self) -> Result<()> {
        // SAFETY: the queue is open.
        let code = unsafe { ffi::clFinish(self.queue.as_ptr()) };
        if code == 0 {
            self.sent.clear();
        }
        self.check("compute on", code)
    }

    /// Queues a kernel with `groups` groups of `items` items.
    #[allow(unsafe_code)]
    pub fn launch(&self, kernel: &Kernel, args: &[Argument], groups: usize, items: usize) -> Result<Option<Event>> {
        if self.fault.get() == Some(Fault::Lost) {
            return Err(explain(&self.info, "launch a kernel on", Some(DEVICE_NOT_AVAILABLE), ""));
        }
        for (i, arg) in args.iter().enumerate() {
            let raw;
            let (size, value) = match arg {
                Argument::Memory(memory) => {
                    raw = memory.mem.as_ptr();
                    (size_of::<ffi::cl_mem>(), (&raw const raw).cast::<c_void>())
                }
                Argument::Long(number) => (8, (&raw const *number).cast::<c_void>()),
            };
            // SAFETY: the value is copied before the call returns.
            let code = unsafe { ffi::clSetKernelArg(kernel.as_ptr(), i as u32, size, value) };
            self.check("give a kernel its arguments on", code)?;
        }
        let (global, local) = ([groups * items, 1, 1], [items, 1, 1]);
        let mut event = null_mut();
        let wanted = if self.profiled { &raw mut event } else { null_mut() };
        // SAFETY: kernels come from verified modules and access what the plan gives them, which the engine has
        // allocated for this batch; sizes and event are valid for the call.
        let code = unsafe {
            ffi::clEnqueueNDRangeKernel(
                self.queue.as_ptr(),
                kernel.as_ptr(),
                1,
                null(),
                global.as_ptr(),
                local.as_ptr(),
                0,
                null(),
                wanted,
            )
        };
        self.check("launch a kernel on", code)?;
        // SAFETY: a new event, which nobody else releases.
        Ok(self.profiled.then(|| unsafe { Event::from_raw_create_ptr(event) }))
    }

    /// Builds a program from its text; where that fails, the error has the compiler's words.
    pub fn build(&self, text: &str, options: &str) -> Result<Program> {
        let wrong = |what: String| Error::new(format!("{} did not take the kernels: {what}", self.info.label()));
        let source = CString::new(text).map_err(|_| wrong("a zero byte in their text".into()))?;
        let program = core::create_program_with_source(&self.context, &[source]);
        let program = program.map_err(|e| wrong(brief(&e.to_string())))?;
        self.compile(&program, options)?;
        Ok(program)
    }

    /// Loads a program from a binary that this device made before.
    pub fn load(&self, binary: &[u8], options: &str) -> Result<Program> {
        let wrong = |e: core::Error| Error::new(format!("{}: {}", self.info.label(), brief(&e.to_string())));
        let program = core::create_program_with_binary(&self.context, &[self.info.id], &[binary]).map_err(wrong)?;
        self.compile(&program, options)?;
        Ok(program)
    }

    fn compile(&self, program: &Program, options: &str) -> Result<()> {
        let options = CString::new(options).map_err(|_| Error::new("a zero byte in build options"))?;
        core::build_program(program, Some(&[self.info.id]), &options, None, None).map_err(|e| {
            let log = core::get_program_build_info(program, self.info.id, core::ProgramBuildInfo::BuildLog);
            let log = log.map(|l| l.to_string()).unwrap_or_default();
            let log = if log.trim().is_empty() { e.to_string() } else { log };
            Error::new(format!("{} cannot compile the kernels: {}", self.info.label(), brief(&log))).with_help(
                "this is a mistake of ninc or of the driver, not of the model: `--emit opencl` shows the kernels, \
                 `--device cpu` works without them",
            )
        })
    }

    /// Returns a program as the device's binary, if the driver gives it.
    pub fn binary(&self, program: &Program) -> Option<Vec<u8>> {
        match core::get_program_info(program, core::ProgramInfo::Binaries) {
            Ok(core::ProgramInfoResult::Binaries(mut binaries)) if binaries.len() == 1 => binaries.pop(),
            _ => None,
        }
    }
}

/// Cuts a device into equal parts, each with some of its units.
#[allow(unsafe_code)]
pub(super) fn parts(info: &Info, count: usize) -> Result<Vec<DeviceId>> {
    let cannot = || {
        let message = format!("{} cannot be cut into {count} parts: it has {} units", info.label(), info.units);
        Error::new(message).with_help("few devices but processors can be cut; take the whole device")
    };
    let units = info.units as usize / count;
    if units == 0 {
        return Err(cannot());
    }
    let properties = [ffi::CL_DEVICE_PARTITION_EQUALLY as isize, units as isize, 0];
    let (mut found, mut ids) = (0, vec![null_mut(); info.units as usize]);
    let most = ids.len() as u32;
    // SAFETY: the properties end with 0; there is room for as many devices as the call is told, and there are never
    // more than units. Nobody releases the devices: they live as long as the program, like whole ones.
    let code =
        unsafe { ffi::clCreateSubDevices(info.id.as_raw(), properties.as_ptr(), most, ids.as_mut_ptr(), &mut found) };
    if code != 0 || (found as usize) < count || ids[..count].iter().any(|id| id.is_null()) {
        return Err(cannot());
    }
    // SAFETY: devices that the driver has just made (not null).
    Ok(ids[..count].iter().map(|&id| unsafe { DeviceId::from_raw(id) }).collect())
}

/// Returns the time that a launch took on the device.
pub fn duration(event: &Event) -> Duration {
    let at = |what| match core::get_event_profiling_info(event, what) {
        Ok(info) => info.time().unwrap_or(0),
        Err(_) => 0,
    };
    Duration::from_nanos(at(core::ProfilingInfo::End).saturating_sub(at(core::ProfilingInfo::Start)))
}

const DEVICE_NOT_AVAILABLE: i32 = -2;

fn status(e: &core::Error) -> Option<i32> {
    e.api_status().map(|s| s as i32)
}

/// Returns the first lines of a driver's message.
fn brief(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let all: Vec<&str> = lines.take(6).collect();
    all.join(" | ")
}

fn no_memory(info: &Info, bytes: usize) -> Error {
    Error::new(format!(
        "{} has no memory for {} MiB ({} MiB in all, {} MiB at once)",
        info.label(),
        bytes.div_ceil(1 << 20),
        info.memory_bytes >> 20,
        info.buffer_bytes >> 20
    ))
    .with_help("use a smaller batch")
}

/// Describes what an error code means for the user.
fn explain(info: &Info, doing: &str, code: Option<i32>, detail: &str) -> Error {
    let name = info.label();
    match code {
        // CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY
        Some(-4 | -6) => Error::new(format!("{name} ran out of memory")).with_help("use a smaller batch"),
        // CL_OUT_OF_RESOURCES
        Some(-5) => Error::new(format!("{name} ran out of resources, or a kernel failed on it"))
            .with_help("use a smaller batch; if that does not help, start again: the device's memory may be lost"),
        // CL_DEVICE_NOT_AVAILABLE, CL_INVALID_DEVICE, CL_INVALID_CONTEXT, CL_INVALID_COMMAND_QUEUE, NVIDIA's "illegal
        // access"
        Some(-2 | -33 | -34 | -36 | -9999) => Error::new(format!("the device {name} is lost: cannot {doing} it"))
            .with_help(
                "what it computed since the last checkpoint is gone; `--resume` goes on from there, on any device",
            ),
        Some(code) => Error::new(format!("cannot {doing} {name}: OpenCL error {code}")),
        None => Error::new(format!("cannot {doing} {name}: {}", brief(detail))),
    }
}
