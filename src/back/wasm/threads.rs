//! Programs that several threads run: the same module in each of them, with one memory. A thread takes its part of
//! every launch's iterations and waits for the others behind it; who calls takes part as thread 0.
//!
//! A page's own thread may not sleep, so thread 0 polls. The others poll for a while, then sleep.

use super::module::Call;
use wasm_encoder::{BlockType, Function, InstructionSink, MemArg, MemArgTarget, ValType};

/// Bytes of memory by which threads meet.
pub const BYTES: u32 = 256;

/// Places of words in that memory: threads that have arrived at a barrier, barriers passed, how many sleep there;
/// orders given, the last one and for how many threads it is, how many wait for one asleep.
const ARRIVED: u64 = 0;
const PHASE: u64 = 64;
const RESTING: u64 = 68;
const ORDERS: u64 = 128;
const TASK: u64 = 132;
const THREADS: u64 = 136;
const IDLE: u64 = 140;

/// How often a thread polls before it sleeps.
const POLLS: i32 = 20_000;

/// A word at a constant place.
fn word(at: u32, place: u64) -> MemArg {
    MemArg { offset: u64::from(at) + place, align: 2, target: MemArgTarget::default(), ordering: None }
}

/// Puts the word's value on the stack.
fn load(out: &mut InstructionSink, at: u32, place: u64) {
    out.i32_const(0).i32_atomic_load(word(at, place));
}

/// Waits until the word differs from the local `old`; thread 0 (the local `index`) without sleep. `polls` is a local.
fn wait(out: &mut InstructionSink, at: u32, [place, sleepers]: [u64; 2], [old, index, polls]: [u32; 3]) {
    out.i32_const(0).local_set(polls);
    out.block(BlockType::Empty).loop_(BlockType::Empty);
    load(out, at, place);
    out.local_get(old).i32_ne().br_if(1);
    out.local_get(polls).i32_const(1).i32_add().local_tee(polls);
    out.i32_const(POLLS).i32_lt_u().local_get(index).i32_eqz().i32_or().br_if(0);
    // Who changes the word sees this, or this sees that it has changed.
    out.i32_const(0).i32_const(1).i32_atomic_rmw_add(word(at, sleepers)).drop();
    out.i32_const(0).local_get(old).i64_const(-1).memory_atomic_wait32(word(at, place)).drop();
    out.i32_const(0).i32_const(1).i32_atomic_rmw_sub(word(at, sleepers)).drop();
    out.br(0).end().end();
}

/// Adds 1 to the word and wakes who sleeps until it changes.
fn advance(out: &mut InstructionSink, at: u32, [place, sleepers]: [u64; 2]) {
    out.i32_const(0).i32_const(1).i32_atomic_rmw_add(word(at, place)).drop();
    load(out, at, sleepers);
    out.if_(BlockType::Empty);
    out.i32_const(0).i32_const(-1).memory_atomic_notify(word(at, place)).drop();
    out.end();
}

/// `barrier(index, threads)`: waits for all threads. The last one to come opens the next phase.
pub(super) fn barrier(at: u32) -> Function {
    let [index, threads, phase, polls] = [0, 1, 2, 3];
    let mut body = Function::new([(2, ValType::I32)]);
    let mut out = body.instructions();
    out.local_get(threads).i32_const(1).i32_eq().if_(BlockType::Empty).return_().end();
    load(&mut out, at, PHASE);
    out.local_set(phase);
    out.i32_const(0).i32_const(1).i32_atomic_rmw_add(word(at, ARRIVED)).i32_const(1).i32_add();
    out.local_get(threads).i32_eq().if_(BlockType::Empty);
    out.i32_const(0).i32_const(0).i32_atomic_store(word(at, ARRIVED));
    advance(&mut out, at, [PHASE, RESTING]);
    out.else_();
    wait(&mut out, at, [PHASE, RESTING], [phase, index, polls]);
    out.end().end();
    body
}

/// `share(index, threads)`: a thread's part of all calls, each with the barrier behind it.
pub(super) fn share(calls: &[Call], barrier: u32) -> Function {
    let [index, threads] = [0, 1];
    let mut body = Function::new([]);
    let mut out = body.instructions();
    for call in calls {
        call.buffers.iter().for_each(|&at| _ = out.i32_const(at as i32));
        out.local_get(index).i32_const(call.scratch_bytes as i32).i32_mul().i32_const(call.scratch as i32).i32_add();
        call.vars.iter().for_each(|&v| _ = out.i64_const(v));
        for next in [0, 1] {
            out.local_get(index).i32_const(next).i32_add().i64_extend_i32_u().i64_const(call.iterations).i64_mul();
            out.local_get(threads).i64_extend_i32_u().i64_div_u();
        }
        out.call(call.kernel).local_get(index).local_get(threads).call(barrier);
    }
    out.end();
    body
}

/// `NAME(threads)`: orders the task and takes part in it.
pub(super) fn order(at: u32, task: usize, share: u32) -> Function {
    let threads = 0;
    let mut body = Function::new([]);
    let mut out = body.instructions();
    out.local_get(threads).i32_const(1).i32_gt_u().if_(BlockType::Empty);
    out.i32_const(0).i32_const(task as i32).i32_atomic_store(word(at, TASK));
    out.i32_const(0).local_get(threads).i32_atomic_store(word(at, THREADS));
    advance(&mut out, at, [ORDERS, IDLE]);
    out.end();
    out.i32_const(0).local_get(threads).call(share).end();
    body
}

/// `work(index)`: does what is ordered, for as long as the thread lives. An order is for all threads, and is done when
/// all have done it, so that none is missed and none is seen twice.
pub(super) fn work(at: u32, shares: &[u32]) -> Function {
    let [index, seen, polls] = [0, 1, 2];
    let mut body = Function::new([(2, ValType::I32)]);
    let mut out = body.instructions();
    out.loop_(BlockType::Empty);
    wait(&mut out, at, [ORDERS, IDLE], [seen, index, polls]);
    load(&mut out, at, ORDERS);
    out.local_set(seen);
    for (task, &share) in shares.iter().enumerate() {
        load(&mut out, at, TASK);
        out.i32_const(task as i32).i32_eq().if_(BlockType::Empty).local_get(index);
        load(&mut out, at, THREADS);
        out.call(share).br(1).end();
    }
    out.br(0).end().end();
    body
}
