//! How many threads this process may really use.

/// Number of processors this process may run on, at least 1.
///
/// On Linux this is the size of the affinity mask, which `taskset`, `mpirun` and batch systems narrow, and not the
/// number of processors of the machine: a gang with more threads than the mask must not spin.
pub fn available_threads() -> usize {
    affinity_mask_size()
        .or_else(|| std::thread::available_parallelism().ok().map(|n| n.get()))
        .unwrap_or(1)
        .max(1)
}

#[cfg(target_os = "linux")]
fn affinity_mask_size() -> Option<usize> {
    let mask = rustix::thread::sched_getaffinity(None).ok()?;
    Some(mask.count() as usize)
}

#[cfg(not(target_os = "linux"))]
fn affinity_mask_size() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_one_and_never_more_than_the_kernel_reports() {
        let threads = available_threads();
        assert!(threads >= 1);
        // The standard library reads the same mask, and may only lower the count by a cgroup quota.
        let std_threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        assert!(threads >= std_threads);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_narrowed_mask_is_respected() {
        // The mask belongs to the calling thread, so a thread of its own keeps other tests unharmed.
        std::thread::spawn(|| {
            let all = rustix::thread::sched_getaffinity(None).expect("the mask is readable");
            let first = (0..rustix::thread::CpuSet::MAX_CPU)
                .find(|&cpu| all.is_set(cpu))
                .expect("a running thread has a processor");
            let mut one = rustix::thread::CpuSet::new();
            one.set(first);
            rustix::thread::sched_setaffinity(None, &one).expect("narrowing is always allowed");
            assert_eq!(available_threads(), 1);
        })
        .join()
        .expect("the narrowed thread runs to its end");
    }
}
