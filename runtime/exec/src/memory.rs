//! Buffers that compiled code works in: 64-byte aligned, optionally between guard pages.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use dlc_abi::ElemType;

/// Alignment of every buffer, in bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;

/// Where buffers are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// On the heap.
    #[default]
    Heap,
    /// Each buffer in a mapping of its own, its end flush against an inaccessible page and another one before its first
    /// page, so that code which reaches too far ends at once with a fault. For tests.
    Guarded,
    /// As [`Placement::Guarded`], and every temporary has a mapping of its own instead of a place in the arena, so that
    /// reaching from one temporary into the next faults too. For tests.
    GuardedApart,
}

/// What fresh buffers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fill {
    /// Zeros.
    #[default]
    Zero,
    /// Ones in every bit: NaN as a float, -1 as an integer. For tests that look for reads of what was never written.
    Ones,
}

/// Why memory could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The system has no more, or the size cannot be addressed.
    #[error("could not allocate {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// This system has no guard pages.
    #[error("guard pages are not available on this system")]
    NoGuardPages,
}

mod sealed {
    pub trait Sealed {}
}

/// Element types that have a Rust type of the same memory. Every bit pattern is a value, and there is no padding.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// Whether a buffer of that element type may be seen as `[Self]`.
    fn matches(elem: ElemType) -> bool;
    /// The name that messages use.
    const NAME: &'static str;
}

macro_rules! elements {
    ($($rust:ty, $name:literal, $($elem:ident)|+;)*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            fn matches(elem: ElemType) -> bool {
                matches!(elem, $(ElemType::$elem)|+)
            }
            const NAME: &'static str = $name;
        }
    )*};
}

// Truth values are bytes 0 and 1; half-width floats are seen as their bits.
elements! {
    f32, "f32", F32;
    f64, "f64", F64;
    i32, "i32", I32;
    i64, "i64", I64;
    u8, "u8", U8 | Bool;
    i8, "i8", I8;
    u16, "u16", Bf16 | F16;
}

/// Owned bytes at an address that is a multiple of [`ALIGNMENT`] and never changes. Compiled code may touch all of them.
#[derive(Debug)]
pub struct Buffer {
    base: NonNull<u8>,
    bytes: usize,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Heap(Layout),
    #[cfg(unix)]
    Mapping(guard::Mapping),
}

// SAFETY: a buffer owns its bytes alone, like a `Box<[u8]>`: shared access only reads, exclusive access writes. Checked by
// `buffers_can_be_shared_between_threads`.
unsafe impl Send for Buffer {}
// SAFETY: as above; no method writes through `&self`.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of at least `bytes` bytes, rounded up to a multiple of [`ALIGNMENT`].
    ///
    /// # Errors
    /// When the memory cannot be had, or guard pages are asked for where there are none.
    pub fn new(bytes: usize, placement: Placement, fill: Fill) -> Result<Self, MemoryError> {
        let error = MemoryError::OutOfMemory { bytes };
        let Some(bytes) = bytes.checked_next_multiple_of(ALIGNMENT) else {
            return Err(error);
        };
        let mut buffer = match placement {
            Placement::Heap => Self::on_heap(bytes).ok_or(error)?,
            #[cfg(unix)]
            Placement::Guarded | Placement::GuardedApart => {
                let (mapping, base) = guard::map(bytes).ok_or(error)?;
                Buffer { base, bytes, origin: Origin::Mapping(mapping) }
            }
            #[cfg(not(unix))]
            Placement::Guarded | Placement::GuardedApart => return Err(MemoryError::NoGuardPages),
        };
        match fill {
            Fill::Zero => {}
            Fill::Ones => buffer.as_bytes_mut().fill(0xFF),
        }
        Ok(buffer)
    }

    fn on_heap(bytes: usize) -> Option<Self> {
        // An empty buffer still has an address of its own.
        let layout = Layout::from_size_align(bytes.max(ALIGNMENT), ALIGNMENT).ok()?;
        // SAFETY: the layout has a positive size. Checked by `buffers_are_aligned_zeroed_and_rounded`.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Buffer { base, bytes, origin: Origin::Heap(layout) })
    }

    /// Bytes that may be touched, a multiple of [`ALIGNMENT`].
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The first byte's address, for compiled code. Writing through it needs exclusive access to the buffer.
    pub fn address(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// All bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `base` points to `bytes` initialised bytes that this buffer owns; `&self` keeps writers away. Checked by
        // `buffers_are_aligned_zeroed_and_rounded`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.bytes) }
    }

    /// All bytes, to be changed.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_bytes`, and `&mut self` keeps everybody else away. Checked by
        // `typed_views_read_back_what_was_written`.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }

    /// The buffer from byte `start` on as `count` elements, or nothing when they do not lie within it or are not aligned.
    pub fn view<T: Element>(&self, start: usize, count: usize) -> Option<&[T]> {
        let first = self.locate::<T>(start, count)?;
        // SAFETY: `locate` has checked range and alignment; every bit pattern is a value of an `Element`; `&self` keeps
        // writers away. Checked by `views_outside_the_buffer_are_refused`.
        Some(unsafe { std::slice::from_raw_parts(first, count) })
    }

    /// As [`Buffer::view`], to be changed.
    pub fn view_mut<T: Element>(&mut self, start: usize, count: usize) -> Option<&mut [T]> {
        let first = self.locate::<T>(start, count)?;
        // SAFETY: as in `view`, and `&mut self` keeps everybody else away. Checked by
        // `views_outside_the_buffer_are_refused`.
        Some(unsafe { std::slice::from_raw_parts_mut(first, count) })
    }

    fn locate<T: Element>(&self, start: usize, count: usize) -> Option<*mut T> {
        let end = start.checked_add(count.checked_mul(size_of::<T>())?)?;
        if end > self.bytes || !start.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // `start <= end <= bytes`, so the address is inside the allocation or one past it.
        Some(self.base.as_ptr().wrapping_add(start).cast())
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.origin {
            // SAFETY: allocated in `on_heap` with this layout, and dropped once. Checked under every test here.
            Origin::Heap(layout) => unsafe { dealloc(self.base.as_ptr(), *layout) },
            #[cfg(unix)]
            Origin::Mapping(mapping) => guard::unmap(mapping),
        }
    }
}

#[cfg(unix)]
mod guard {
    use super::ALIGNMENT;
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
    use std::ffi::c_void;
    use std::ptr::NonNull;

    /// A whole mapping, guard pages included.
    #[derive(Debug)]
    pub(super) struct Mapping {
        start: *mut c_void,
        bytes: usize,
    }

    /// Maps `bytes` zeroed bytes, a multiple of [`ALIGNMENT`], that end where an inaccessible page begins.
    pub(super) fn map(bytes: usize) -> Option<(Mapping, NonNull<u8>)> {
        let page = rustix::param::page_size();
        debug_assert!(bytes.is_multiple_of(ALIGNMENT) && page.is_multiple_of(ALIGNMENT));
        let inner = bytes.checked_next_multiple_of(page)?;
        let total = inner.checked_add(2 * page)?;
        // SAFETY: a fresh mapping at an address of the system's choice touches no existing memory. Checked by
        // `guarded_buffers_end_at_a_guard_page`.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), total, ProtFlags::empty(), MapFlags::PRIVATE)
        }
        .ok()?;
        let mapping = Mapping { start, bytes: total };
        let first = start.wrapping_byte_add(page);
        // SAFETY: the pages between the two guards belong to the mapping made above, which nobody else knows. Checked by
        // `guarded_buffers_end_at_a_guard_page`.
        let opened = inner == 0
            || unsafe { mprotect(first, inner, MprotectFlags::READ | MprotectFlags::WRITE) }
                .is_ok();
        let base = NonNull::new(first.wrapping_byte_add(inner - bytes).cast::<u8>());
        match base {
            Some(base) if opened => Some((mapping, base)),
            _ => {
                unmap(&mapping);
                None
            }
        }
    }

    pub(super) fn unmap(mapping: &Mapping) {
        // SAFETY: the range is one whole mapping made in `map`; its owner gives it up now, and no view outlives the owner.
        // Checked by `guarded_buffers_come_and_go`.
        let result = unsafe { munmap(mapping.start, mapping.bytes) };
        debug_assert!(result.is_ok(), "a whole mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACEMENTS: &[Placement] = if cfg!(unix) {
        &[Placement::Heap, Placement::Guarded, Placement::GuardedApart]
    } else {
        &[Placement::Heap]
    };

    fn buffer(bytes: usize, placement: Placement) -> Buffer {
        Buffer::new(bytes, placement, Fill::Zero).expect("a small buffer")
    }

    #[test]
    fn buffers_are_aligned_zeroed_and_rounded() {
        for &placement in PLACEMENTS {
            for bytes in [0, 1, 63, 64, 65, 4095, 4096, 4097, 100_000] {
                let buffer = buffer(bytes, placement);
                assert_eq!(buffer.len(), bytes.next_multiple_of(64));
                assert_eq!(buffer.address() as usize % ALIGNMENT, 0);
                assert!(buffer.as_bytes().iter().all(|&byte| byte == 0));
            }
        }
    }

    #[test]
    fn typed_views_read_back_what_was_written() {
        for &placement in PLACEMENTS {
            let mut buffer = buffer(256, placement);
            buffer.view_mut::<f32>(64, 3).expect("inside").copy_from_slice(&[1.0, -2.5, f32::NAN]);
            let bits: Vec<u32> =
                buffer.view::<f32>(64, 3).expect("inside").iter().map(|x| x.to_bits()).collect();
            assert_eq!(bits, [1.0_f32, -2.5, f32::NAN].map(f32::to_bits));
            buffer.as_bytes_mut()[255] = 7;
            assert_eq!(buffer.view::<u8>(255, 1), Some(&[7][..]));
        }
    }

    #[test]
    fn views_outside_the_buffer_are_refused() {
        let mut buffer = buffer(128, Placement::Heap);
        assert!(buffer.view::<i64>(0, 16).is_some());
        assert!(buffer.view::<i64>(0, 17).is_none());
        assert!(buffer.view::<i64>(8, 16).is_none());
        assert!(buffer.view::<i32>(2, 1).is_none(), "not aligned");
        assert!(buffer.view_mut::<u8>(129, 0).is_none());
        assert!(buffer.view_mut::<f64>(0, usize::MAX / 4).is_none());
        assert!(buffer.view_mut::<u8>(usize::MAX, 2).is_none());
        assert_eq!(buffer.view::<f32>(128, 0), Some(&[][..]));
    }

    #[test]
    fn a_fill_of_ones_is_not_a_number() {
        for &placement in PLACEMENTS {
            let buffer = Buffer::new(100, placement, Fill::Ones).expect("a small buffer");
            let floats = buffer.view::<f32>(0, 32).expect("inside");
            assert!(floats.iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn absurd_sizes_are_an_error() {
        for &placement in PLACEMENTS {
            for bytes in [usize::MAX, usize::MAX - 70, isize::MAX as usize] {
                let error = Buffer::new(bytes, placement, Fill::Zero).expect_err("too large");
                assert_eq!(error, MemoryError::OutOfMemory { bytes });
            }
        }
    }

    #[test]
    fn buffers_can_be_shared_between_threads() {
        let mut buffer = buffer(64, Placement::Heap);
        buffer.as_bytes_mut()[3] = 9;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(buffer.as_bytes()[3], 9));
            }
        });
    }

    #[cfg(unix)]
    #[test]
    fn guarded_buffers_come_and_go() {
        // Far more address space than a leak would leave: 40,000 times 256 MiB.
        for _ in 0..40_000 {
            drop(buffer(1 << 28, Placement::Guarded));
        }
    }

    /// A child process touches the byte before or after a guarded buffer and must die by a signal.
    #[cfg(target_os = "linux")]
    #[test]
    fn guarded_buffers_end_at_a_guard_page() {
        use std::os::unix::process::ExitStatusExt;
        const VARIABLE: &str = "DLC_TEST_TOUCH";
        if let Ok(place) = std::env::var(VARIABLE) {
            let buffer = buffer(4096 + 64, Placement::Guarded);
            let offset: isize = match place.as_str() {
                "last" => 4096 + 63,
                "after" => 4096 + 64,
                // The buffer ends at the guard, so 4096 - 64 bytes of its first page lie before it.
                _ => -(4096 - 64) - 1,
            };
            // SAFETY: "last" is inside; the others are meant to fault, in a process that exists for nothing else.
            unsafe { buffer.address().offset(offset).write_volatile(1) };
            std::process::exit(0);
        }
        let program = std::env::current_exe().expect("a test binary has a path");
        for (place, faults) in [("last", false), ("after", true), ("before", true)] {
            let status = std::process::Command::new(&program)
                .args(["--exact", "memory::tests::guarded_buffers_end_at_a_guard_page"])
                .env(VARIABLE, place)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status()
                .expect("the test binary starts");
            assert_eq!(status.signal().is_some(), faults, "{place}: {status}");
            assert!(faults || status.success());
        }
    }
}
