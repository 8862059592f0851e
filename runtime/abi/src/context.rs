//! The context that every compiled segment receives, laid out as C would lay it out.

use std::ffi::c_void;

/// The segment ran to its end.
pub const STATUS_OK: i32 = 0;
/// An index (a label, a token) lay outside its range; the context's [`ErrorSlot`] says which.
pub const STATUS_BAD_INDEX: i32 = 1;
/// The barrier refused to continue because another part failed or the step was cancelled.
pub const STATUS_CANCELLED: i32 = 2;
/// What a barrier returns when every part has arrived.
pub const BARRIER_OK: i32 = 0;

/// Waits until all parts of the segment have arrived. Returns [`BARRIER_OK`], or another value when
/// the step must end; generated code then returns [`STATUS_CANCELLED`] at once.
///
/// It must not unwind: generated code carries no unwind tables.
pub type BarrierFn = unsafe extern "C" fn(context: *const StepContext, part: i64) -> i32;

/// Runs one part of a segment. Parts `0..parts` run concurrently, with contexts that differ in
/// [`StepContext::error`] alone; any number of parts gives the same bits. Returns one of the `STATUS_` values.
pub type SegmentFn =
    unsafe extern "C" fn(context: *const StepContext, part: i64, parts: i64) -> i32;

/// Where a part notes the first bad index it meets. The runtime gives each part a slot of its own, zeroed before
/// the step, so that the fields of two findings never mix. A segment that has noted one may clamp the index and run
/// on to its end; no later segment of the step runs then.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ErrorSlot {
    /// One of the `STATUS_` values; zero when nothing is wrong.
    pub status: i64,
    /// The buffer (index into the manifest) that held the bad index.
    pub buffer: i64,
    /// The element of that buffer, in row-major order.
    pub element: i64,
    /// The value found there.
    pub value: i64,
}

/// Everything a segment reads from its surroundings. Field order and types are part of the
/// binary interface; generated code reads them at fixed offsets.
#[repr(C)]
#[derive(Debug)]
pub struct StepContext {
    /// Base address of each buffer of the manifest, in its order. Offset 0.
    pub buffers: *const *mut u8,
    /// Number of examples in this batch, at most the plan's maximum. Offset 8.
    pub batch: i64,
    /// The barrier between phases. Offset 16.
    pub barrier: BarrierFn,
    /// For the owner of the barrier. Offset 24.
    pub barrier_data: *mut c_void,
    /// Scratch memory, 64-byte aligned; part `p` owns `scratch_stride` bytes from `p * scratch_stride`. Offset 32.
    pub scratch: *mut u8,
    /// Bytes of scratch a part owns; at least the manifest's `scratch_bytes`. Offset 40.
    pub scratch_stride: i64,
    /// Where this part notes a bad index. Offset 48.
    pub error: *mut ErrorSlot,
}

impl StepContext {
    /// Byte offset of [`StepContext::buffers`].
    pub const OFFSET_BUFFERS: i32 = 0;
    /// Byte offset of [`StepContext::batch`].
    pub const OFFSET_BATCH: i32 = 8;
    /// Byte offset of [`StepContext::barrier`].
    pub const OFFSET_BARRIER: i32 = 16;
    /// Byte offset of [`StepContext::scratch`].
    pub const OFFSET_SCRATCH: i32 = 32;
    /// Byte offset of [`StepContext::scratch_stride`].
    pub const OFFSET_SCRATCH_STRIDE: i32 = 40;
    /// Byte offset of [`StepContext::error`].
    pub const OFFSET_ERROR: i32 = 48;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn offsets_are_those_that_generated_code_uses() {
        assert_eq!(offset_of!(StepContext, buffers) as i32, StepContext::OFFSET_BUFFERS);
        assert_eq!(offset_of!(StepContext, batch) as i32, StepContext::OFFSET_BATCH);
        assert_eq!(offset_of!(StepContext, barrier) as i32, StepContext::OFFSET_BARRIER);
        assert_eq!(offset_of!(StepContext, scratch) as i32, StepContext::OFFSET_SCRATCH);
        assert_eq!(
            offset_of!(StepContext, scratch_stride) as i32,
            StepContext::OFFSET_SCRATCH_STRIDE
        );
        assert_eq!(offset_of!(StepContext, error) as i32, StepContext::OFFSET_ERROR);
    }
}
