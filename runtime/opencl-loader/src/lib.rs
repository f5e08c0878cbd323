//! OpenCL's functions, forwarded to the library that is found when the program runs.
//!
//! `cl-sys` asks the linker for `libOpenCL`, so that a program with OpenCL in it would neither link nor start on a machine
//! without it. The build script gives the linker an empty library of that name; this file defines the functions. The first
//! call opens the machine's real library; where there is none, every call says that there is no platform, which callers
//! have to expect anyway.
//!
//! All of it stays in one file, hence in one object of the archive: a linker that takes objects one by one, in order, then
//! takes the functions together with [`find`], which the runtime calls.

#![allow(non_snake_case, unsafe_code)]

use cl_sys::*;
use libloading::Library;
use std::sync::OnceLock;

/// What the system's loader is asked for, in this order; before it comes the file that `NINC_OPENCL` names.
#[cfg(target_os = "linux")]
const NAMES: [&str; 2] = ["libOpenCL.so.1", "libOpenCL.so"];
#[cfg(target_os = "macos")]
const NAMES: [&str; 1] = ["/System/Library/Frameworks/OpenCL.framework/OpenCL"];
#[cfg(windows)]
const NAMES: [&str; 1] = ["OpenCL.dll"];
#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
const NAMES: [&str; 1] = ["libOpenCL.so"];

/// `CL_PLATFORM_NOT_FOUND_KHR`: what an installable-client-driver loader answers when it knows no driver.
const NOT_FOUND: cl_int = -1001;

fn library() -> Result<&'static Library, String> {
    static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
    LIBRARY.get_or_init(open).as_ref().map_err(Clone::clone)
}

fn open() -> Result<Library, String> {
    let given = std::env::var("NINC_OPENCL").ok();
    let names: Vec<&str> = given.as_deref().map_or(NAMES.to_vec(), |name| vec![name]);
    let mut problems = Vec::new();
    for name in names {
        // SAFETY: opening a library runs its initialisers; the system's OpenCL loader, or the one that the user names, is
        // trusted as the system's C library is.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(library),
            Err(e) => problems.push(e.to_string()),
        }
    }
    Err(problems.join("; "))
}

/// Is there an OpenCL library? If not, what the system says about it.
pub fn find() -> Result<(), String> {
    library().map(|_| ())
}

/// Answers a function's caller where there is no library.
trait Missing {
    fn missing() -> Self;
}

impl Missing for cl_int {
    fn missing() -> cl_int {
        NOT_FOUND
    }
}

impl<T> Missing for *mut T {
    fn missing() -> *mut T {
        std::ptr::null_mut()
    }
}

macro_rules! forward {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty;)*) => {$(
        /// The library's function of this name.
        ///
        /// # Safety
        /// As OpenCL's specification says.
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($arg: $ty),*) -> $result {
            type Function = unsafe extern "system" fn($($ty),*) -> $result;
            static FOUND: OnceLock<Option<Function>> = OnceLock::new();
            // SAFETY: OpenCL gives the function of this name this signature; the library is never closed.
            let find = || unsafe { library().ok()?.get::<Function>(stringify!($name)).ok().map(|f| *f) };
            match FOUND.get_or_init(find) {
                // SAFETY: the caller keeps to OpenCL's rules, which are all that the function asks for.
                Some(function) => unsafe { function($($arg),*) },
                None => Missing::missing(),
            }
        }
    )*};
}

forward! {
    fn clGetPlatformIDs(
        num_entries: cl_uint, platforms: *mut cl_platform_id, num_platforms: *mut cl_uint,
    ) -> cl_int;
    fn clGetPlatformInfo(
        platform: cl_platform_id, param_name: cl_platform_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clGetDeviceIDs(
        platform: cl_platform_id, device_type: cl_device_type, num_entries: cl_uint, devices: *mut cl_device_id,
        num_devices: *mut cl_uint,
    ) -> cl_int;
    fn clGetDeviceInfo(
        device: cl_device_id, param_name: cl_device_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateSubDevices(
        in_device: cl_device_id, properties: *const cl_device_partition_property, num_devices: cl_uint,
        out_devices: *mut cl_device_id, num_devices_ret: *mut cl_uint,
    ) -> cl_int;
    fn clRetainDevice(device: cl_device_id) -> cl_int;
    fn clReleaseDevice(device: cl_device_id) -> cl_int;
    fn clCreateContext(
        properties: *const cl_context_properties, num_devices: cl_uint, devices: *const cl_device_id,
        pfn_notify: Option<extern "C" fn(*const c_char, *const c_void, size_t, *mut c_void)>,
        user_data: *mut c_void, errcode_ret: *mut cl_int,
    ) -> cl_context;
    fn clCreateContextFromType(
        properties: *const cl_context_properties, device_type: cl_device_type,
        pfn_notify: Option<extern "C" fn(*const c_char, *const c_void, size_t, *mut c_void)>,
        user_data: *mut c_void, errcode_ret: *mut cl_int,
    ) -> cl_context;
    fn clRetainContext(context: cl_context) -> cl_int;
    fn clReleaseContext(context: cl_context) -> cl_int;
    fn clGetContextInfo(
        context: cl_context, param_name: cl_context_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateCommandQueue(
        context: cl_context, device: cl_device_id, properties: cl_command_queue_properties,
        errcode_ret: *mut cl_int,
    ) -> cl_command_queue;
    fn clRetainCommandQueue(command_queue: cl_command_queue) -> cl_int;
    fn clReleaseCommandQueue(command_queue: cl_command_queue) -> cl_int;
    fn clGetCommandQueueInfo(
        command_queue: cl_command_queue, param_name: cl_command_queue_info, param_value_size: size_t,
        param_value: *mut c_void, param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateBuffer(
        context: cl_context, flags: cl_mem_flags, size: size_t, host_ptr: *mut c_void, errcode_ret: *mut cl_int,
    ) -> cl_mem;
    fn clCreateSubBuffer(
        buffer: cl_mem, flags: cl_mem_flags, buffer_create_type: cl_buffer_create_type,
        buffer_create_info: *const c_void, errcode_ret: *mut cl_int,
    ) -> cl_mem;
    fn clCreateImage(
        context: cl_context, flags: cl_mem_flags, image_format: *const cl_image_format,
        image_desc: *const cl_image_desc, host_ptr: *mut c_void, errcode_ret: *mut cl_int,
    ) -> cl_mem;
    fn clRetainMemObject(memobj: cl_mem) -> cl_int;
    fn clReleaseMemObject(memobj: cl_mem) -> cl_int;
    fn clGetSupportedImageFormats(
        context: cl_context, flags: cl_mem_flags, image_type: cl_mem_object_type, num_entries: cl_uint,
        image_formats: *mut cl_image_format, num_image_formats: *mut cl_uint,
    ) -> cl_int;
    fn clGetMemObjectInfo(
        memobj: cl_mem, param_name: cl_mem_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clGetImageInfo(
        image: cl_mem, param_name: cl_image_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clSetMemObjectDestructorCallback(
        memobj: cl_mem, pfn_notify: Option<extern "C" fn(cl_mem, *mut c_void)>, user_data: *mut c_void,
    ) -> cl_int;
    fn clCreateSampler(
        context: cl_context, normalize_coords: cl_bool, addressing_mode: cl_addressing_mode,
        filter_mode: cl_filter_mode, errcode_ret: *mut cl_int,
    ) -> cl_sampler;
    fn clRetainSampler(sampler: cl_sampler) -> cl_int;
    fn clReleaseSampler(sampler: cl_sampler) -> cl_int;
    fn clGetSamplerInfo(
        sampler: cl_sampler, param_name: cl_sampler_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateProgramWithSource(
        context: cl_context, count: cl_uint, strings: *const *const c_char, lengths: *const size_t,
        errcode_ret: *mut cl_int,
    ) -> cl_program;
    fn clCreateProgramWithBinary(
        context: cl_context, num_devices: cl_uint, device_list: *const cl_device_id, lengths: *const size_t,
        binaries: *const *const c_uchar, binary_status: *mut cl_int, errcode_ret: *mut cl_int,
    ) -> cl_program;
    fn clRetainProgram(program: cl_program) -> cl_int;
    fn clReleaseProgram(program: cl_program) -> cl_int;
    fn clBuildProgram(
        program: cl_program, num_devices: cl_uint, device_list: *const cl_device_id, options: *const c_char,
        pfn_notify: Option<extern "C" fn(cl_program, *mut c_void)>, user_data: *mut c_void,
    ) -> cl_int;
    fn clCompileProgram(
        program: cl_program, num_devices: cl_uint, device_list: *const cl_device_id, options: *const c_char,
        num_input_headers: cl_uint, input_headers: *const cl_program, header_include_names: *const *const c_char,
        pfn_notify: Option<extern "C" fn(program: cl_program, user_data: *mut c_void)>, user_data: *mut c_void,
    ) -> cl_int;
    fn clLinkProgram(
        context: cl_context, num_devices: cl_uint, device_list: *const cl_device_id, options: *const c_char,
        num_input_programs: cl_uint, input_programs: *const cl_program,
        pfn_notify: Option<extern "C" fn(program: cl_program, user_data: *mut c_void)>, user_data: *mut c_void,
        errcode_ret: *mut cl_int,
    ) -> cl_program;
    fn clGetProgramInfo(
        program: cl_program, param_name: cl_program_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clGetProgramBuildInfo(
        program: cl_program, device: cl_device_id, param_name: cl_program_build_info, param_value_size: size_t,
        param_value: *mut c_void, param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateKernel(program: cl_program, kernel_name: *const c_char, errcode_ret: *mut cl_int) -> cl_kernel;
    fn clCreateKernelsInProgram(
        program: cl_program, num_kernels: cl_uint, kernels: *mut cl_kernel, num_kernels_ret: *mut cl_uint,
    ) -> cl_int;
    fn clRetainKernel(kernel: cl_kernel) -> cl_int;
    fn clReleaseKernel(kernel: cl_kernel) -> cl_int;
    fn clSetKernelArg(kernel: cl_kernel, arg_index: cl_uint, arg_size: size_t, arg_value: *const c_void) -> cl_int;
    fn clGetKernelInfo(
        kernel: cl_kernel, param_name: cl_kernel_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clGetKernelArgInfo(
        kernel: cl_kernel, arg_indx: cl_uint, param_name: cl_kernel_arg_info, param_value_size: size_t,
        param_value: *mut c_void, param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clGetKernelWorkGroupInfo(
        kernel: cl_kernel, device: cl_device_id, param_name: cl_kernel_work_group_info, param_value_size: size_t,
        param_value: *mut c_void, param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clWaitForEvents(num_events: cl_uint, event_list: *const cl_event) -> cl_int;
    fn clGetEventInfo(
        event: cl_event, param_name: cl_event_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clCreateUserEvent(context: cl_context, errcode_ret: *mut cl_int) -> cl_event;
    fn clRetainEvent(event: cl_event) -> cl_int;
    fn clReleaseEvent(event: cl_event) -> cl_int;
    fn clSetUserEventStatus(event: cl_event, execution_status: cl_int) -> cl_int;
    fn clSetEventCallback(
        event: cl_event, command_exec_callback_type: cl_int,
        pfn_notify: Option<extern "C" fn(cl_event, cl_int, *mut c_void)>, user_data: *mut c_void,
    ) -> cl_int;
    fn clGetEventProfilingInfo(
        event: cl_event, param_name: cl_profiling_info, param_value_size: size_t, param_value: *mut c_void,
        param_value_size_ret: *mut size_t,
    ) -> cl_int;
    fn clFlush(command_queue: cl_command_queue) -> cl_int;
    fn clFinish(command_queue: cl_command_queue) -> cl_int;
    fn clEnqueueReadBuffer(
        command_queue: cl_command_queue, buffer: cl_mem, blocking_read: cl_bool, offset: size_t, cb: size_t,
        ptr: *mut c_void, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueReadBufferRect(
        command_queue: cl_command_queue, buffer: cl_mem, blocking_read: cl_bool, buffer_origin: *const size_t,
        host_origin: *const size_t, region: *const size_t, buffer_row_pitch: size_t, buffer_slc_pitch: size_t,
        host_row_pitch: size_t, host_slc_pitch: size_t, ptr: *mut c_void, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueWriteBuffer(
        command_queue: cl_command_queue, buffer: cl_mem, blocking_write: cl_bool, offset: size_t, cb: size_t,
        ptr: *const c_void, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueWriteBufferRect(
        command_queue: cl_command_queue, buffer: cl_mem, blocking_write: cl_bool, buffer_origin: *const size_t,
        host_origin: *const size_t, region: *const size_t, buffer_row_pitch: size_t, buffer_slc_pitch: size_t,
        host_row_pitch: size_t, host_slc_pitch: size_t, ptr: *const c_void, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueFillBuffer(
        command_queue: cl_command_queue, buffer: cl_mem, pattern: *const c_void, pattern_size: size_t,
        offset: size_t, size: size_t, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueCopyBuffer(
        command_queue: cl_command_queue, src_buffer: cl_mem, dst_buffer: cl_mem, src_offset: size_t,
        dst_offset: size_t, cb: size_t, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueCopyBufferRect(
        command_queue: cl_command_queue, src_buffer: cl_mem, dst_buffer: cl_mem, src_origin: *const size_t,
        dst_origin: *const size_t, region: *const size_t, src_row_pitch: size_t, src_slc_pitch: size_t,
        dst_row_pitch: size_t, dst_slc_pitch: size_t, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueReadImage(
        command_queue: cl_command_queue, image: cl_mem, blocking_read: cl_bool, origin: *const size_t,
        region: *const size_t, row_pitch: size_t, slc_pitch: size_t, ptr: *mut c_void,
        num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueWriteImage(
        command_queue: cl_command_queue, image: cl_mem, blocking_write: cl_bool, origin: *const size_t,
        region: *const size_t, input_row_pitch: size_t, input_slc_pitch: size_t, ptr: *const c_void,
        num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueFillImage(
        command_queue: cl_command_queue, image: cl_mem, fill_color: *const c_void, origin: *const size_t,
        region: *const size_t, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueCopyImage(
        command_queue: cl_command_queue, src_image: cl_mem, dst_image: cl_mem, src_origin: *const size_t,
        dst_origin: *const size_t, region: *const size_t, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueCopyImageToBuffer(
        command_queue: cl_command_queue, src_image: cl_mem, dst_buffer: cl_mem, src_origin: *const size_t,
        region: *const size_t, dst_offset: size_t, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueCopyBufferToImage(
        command_queue: cl_command_queue, src_buffer: cl_mem, dst_image: cl_mem, src_offset: size_t,
        dst_origin: *const size_t, region: *const size_t, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueMapBuffer(
        command_queue: cl_command_queue, buffer: cl_mem, blocking_map: cl_bool, map_flags: cl_map_flags,
        offset: size_t, size: size_t, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event, errorcode_ret: *mut cl_int,
    ) -> *mut c_void;
    fn clEnqueueMapImage(
        command_queue: cl_command_queue, image: cl_mem, blocking_map: cl_bool, map_flags: cl_map_flags,
        origin: *const size_t, region: *const size_t, image_row_pitch: *mut size_t, image_slc_pitch: *mut size_t,
        num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event, event: *mut cl_event,
        errorcode_ret: *mut cl_int,
    ) -> *mut c_void;
    fn clEnqueueUnmapMemObject(
        command_queue: cl_command_queue, memobj: cl_mem, mapped_ptr: *mut c_void, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueMigrateMemObjects(
        command_queue: cl_command_queue, num_mem_objects: cl_uint, mem_objects: *const cl_mem,
        flags: cl_mem_migration_flags, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueNDRangeKernel(
        command_queue: cl_command_queue, kernel: cl_kernel, work_dim: cl_uint, global_work_offset: *const size_t,
        global_work_dims: *const size_t, local_work_dims: *const size_t, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueTask(
        command_queue: cl_command_queue, kernel: cl_kernel, num_events_in_wait_list: cl_uint,
        event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueNativeKernel(
        command_queue: cl_command_queue, user_func: Option<extern "C" fn(*mut c_void)>, args: *mut c_void,
        cb_args: size_t, num_mem_objects: cl_uint, mem_list: *const cl_mem, args_mem_loc: *const *const c_void,
        num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event, event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueMarkerWithWaitList(
        command_queue: cl_command_queue, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clEnqueueBarrierWithWaitList(
        command_queue: cl_command_queue, num_events_in_wait_list: cl_uint, event_wait_list: *const cl_event,
        event: *mut cl_event,
    ) -> cl_int;
    fn clGetExtensionFunctionAddressForPlatform(platform: cl_platform_id, func_name: *const c_char) -> *mut c_void;
}
