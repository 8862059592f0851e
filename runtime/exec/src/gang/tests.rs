use super::*;
use dlc_abi::BARRIER_OK;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// What a run of all parts with `phases` barriers leaves in each cell.
fn sum_in_phases(gang: &Gang, phases: u64) -> usize {
    let cells: Vec<AtomicU64> = (0..gang.threads()).map(|_| AtomicU64::new(0)).collect();
    let seen_parts = AtomicUsize::new(0);
    let mut team = gang.enter(gang.threads());
    let barrier = team.barrier();
    let status = team.run(&|part, parts| {
        seen_parts.store(parts, Ordering::Relaxed);
        for phase in 1..=phases {
            cells[part].store(phase, Ordering::Relaxed);
            if barrier.is_some_and(|barrier| barrier.wait(part) != BARRIER_OK) {
                return STATUS_CANCELLED;
            }
            for cell in &cells[..parts] {
                assert_eq!(cell.load(Ordering::Relaxed), phase);
            }
            if barrier.is_some_and(|barrier| barrier.wait(part) != BARRIER_OK) {
                return STATUS_CANCELLED;
            }
        }
        STATUS_OK
    });
    assert_eq!(status, STATUS_OK);
    seen_parts.into_inner()
}

#[test]
fn all_sizes_of_gang_meet_in_many_phases() {
    for threads in 1..=8 {
        let gang = Gang::new(threads).expect("the system has threads");
        assert_eq!(sum_in_phases(&gang, 300), threads);
    }
}

#[test]
fn many_runs_each_see_their_own_job() {
    let gang = Gang::new(3).expect("the system has threads");
    for run in 0..5_000_i64 {
        let sum = AtomicU64::new(0);
        let status = gang.run(&|part, parts| {
            assert_eq!(parts, 3);
            sum.fetch_add(run as u64 * 10 + part as u64, Ordering::Relaxed);
            STATUS_OK
        });
        assert_eq!(status, STATUS_OK);
        assert_eq!(sum.into_inner(), run as u64 * 30 + 3);
    }
}

#[test]
fn a_team_may_be_smaller_than_the_gang() {
    let gang = Gang::new(4).expect("the system has threads");
    for max_parts in [0, 1, 2, 3, 4, 9] {
        let mut team = gang.enter(max_parts);
        let expected = max_parts.clamp(1, 4);
        assert_eq!(team.parts(), expected);
        let ran = AtomicUsize::new(0);
        let status = team.run(&|part, parts| {
            assert!(part < parts && parts == expected);
            ran.fetch_add(1, Ordering::Relaxed);
            STATUS_OK
        });
        assert_eq!((status, ran.into_inner()), (STATUS_OK, expected));
    }
}

#[test]
fn two_callers_never_mix() {
    let gang = Gang::new(2).expect("the system has threads");
    let (alone, together) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (gang, alone, together) = (&gang, &alone, &together);
            scope.spawn(move || {
                for run in 0..2_000 {
                    let tag = caller * 1_000_000 + run;
                    let sum = AtomicUsize::new(0);
                    gang.run(&|part, parts| {
                        let tally = if parts == 1 { alone } else { together };
                        tally.fetch_add(usize::from(part == 0), Ordering::Relaxed);
                        // Each part brings its share: one part alone brings all of it.
                        sum.fetch_add(tag * 2 / parts, Ordering::Relaxed);
                        STATUS_OK
                    });
                    assert_eq!(sum.into_inner(), tag * 2);
                }
            });
        }
    });
    assert_eq!(alone.into_inner() + together.into_inner(), 6_000);
}

#[test]
fn a_run_inside_a_run_is_alone() {
    let gang = Gang::new(2).expect("the system has threads");
    let inner_parts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    gang.run(&|part, parts| {
        assert_eq!(parts, 2);
        gang.run(&|_, parts| {
            inner_parts[part].store(parts, Ordering::Relaxed);
            STATUS_OK
        })
    });
    assert_eq!(inner_parts.map(AtomicUsize::into_inner), [1, 1]);
    // The gang is free again.
    assert_eq!(gang.enter(2).parts(), 2);
}

#[test]
fn workers_of_another_pool_may_call_and_never_wait_for_each_other() {
    use rayon::prelude::*;
    let gang = Gang::new(2).expect("the system has threads");
    let users =
        rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("the system has threads");
    let total: u64 = users.install(|| {
        (0..600_u64)
            .into_par_iter()
            .map(|i| {
                let sum = AtomicU64::new(0);
                let mut team = gang.enter(2);
                let barrier = team.barrier();
                let status = team.run(&|part, parts| {
                    for _ in 0..10 {
                        if barrier.is_some_and(|barrier| barrier.wait(part) != BARRIER_OK) {
                            return STATUS_CANCELLED;
                        }
                    }
                    sum.fetch_add(i * 2 / parts as u64, Ordering::Relaxed);
                    STATUS_OK
                });
                assert_eq!(status, STATUS_OK);
                sum.into_inner()
            })
            .sum()
    });
    assert_eq!(total, 599 * 600);
}

#[test]
fn a_failing_part_lets_the_others_out_and_the_next_run_works() {
    let gang = Gang::new(4).expect("the system has threads");
    for failing in 0..4 {
        let mut team = gang.enter(4);
        let barrier = team.barrier().expect("four parts have a barrier");
        let cancelled = AtomicUsize::new(0);
        let status = team.run(&|part, _| {
            assert_eq!(barrier.wait(part), BARRIER_OK);
            if part == failing {
                return 77;
            }
            let status = barrier.wait(part);
            cancelled.fetch_add(usize::from(status == STATUS_CANCELLED), Ordering::Relaxed);
            status
        });
        assert_eq!(status, 77, "the failure hides the cancellations");
        assert_eq!(cancelled.into_inner(), 3);
        drop(team);
        assert_eq!(sum_in_phases(&gang, 20), 4);
    }
}

#[test]
fn parts_that_disagree_on_the_number_of_phases_fail_and_do_not_hang() {
    let gang = Gang::new(3).expect("the system has threads");
    for longest in 0..3 {
        let mut team = gang.enter(3);
        let barrier = team.barrier().expect("three parts have a barrier");
        let status = team.run(&|part, _| {
            for _ in 0..if part == longest { 5 } else { 4 } {
                let status = barrier.wait(part);
                if status != BARRIER_OK {
                    return status;
                }
            }
            STATUS_OK
        });
        assert_eq!(status, STATUS_CANCELLED);
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_gang_survives() {
    let gang = Gang::new(3).expect("the system has threads");
    for panicking in 0..3 {
        let message = format!("part {panicking} gives up");
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut team = gang.enter(3);
            let barrier = team.barrier().expect("three parts have a barrier");
            team.run(&|part, _| {
                if part == panicking {
                    std::panic::panic_any(message.clone());
                }
                barrier.wait(part)
            })
        }));
        let payload = caught.expect_err("the panic is passed on");
        assert_eq!(payload.downcast_ref::<String>(), Some(&message));
        assert_eq!(sum_in_phases(&gang, 20), 3);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn every_part_computes_with_denormals_whatever_the_caller_does() {
    use std::hint::black_box;
    let gang = Gang::new(2).expect("the system has threads");
    let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5_f32);
    for parts in [1, 2] {
        let control_words = [AtomicI32::new(0), AtomicI32::new(0)];
        let gang = &gang;
        std::thread::scope(|scope| {
            let control_words = &control_words;
            scope.spawn(move || {
                test_control::set(0x1F80 | 1 << 15 | 1 << 6);
                assert_eq!(half(), 0.0);
                let status = gang.enter(parts).run(&|part, _| {
                    control_words[part].store(test_control::get() as i32, Ordering::Relaxed);
                    i32::from(half() == 0.0)
                });
                assert_eq!(status, STATUS_OK);
                assert_eq!(half(), 0.0, "the caller's own setting is back");
                test_control::set(0x1F80);
            });
        });
        for word in &control_words[..parts] {
            assert_eq!(word.load(Ordering::Relaxed), 0x1F80);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod test_control {
    use std::arch::asm;

    pub(super) fn get() -> u32 {
        let mut control = 0_u32;
        // SAFETY: stores four bytes to a live local.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut control, options(nostack, preserves_flags)) };
        control & !0x3F
    }

    pub(super) fn set(control: u32) {
        // SAFETY: loads a valid control word; the thread belongs to the test, which sets the default again at its end.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &control, options(nostack)) };
    }
}

#[test]
fn impossible_sizes_are_refused() {
    for threads in [0, MAX_THREADS + 1] {
        let error = Gang::new(threads).expect_err("out of range");
        assert_eq!(error.to_string(), format!("a gang has 1 to 1024 threads, not {threads}"));
    }
}

#[test]
fn dropping_a_gang_ends_its_threads() {
    for _ in 0..50 {
        let gang = Gang::new(3).expect("the system has threads");
        gang.run(&|_, _| STATUS_OK);
        let shared = Arc::downgrade(&gang.shared);
        drop(gang);
        // The workers have said that they stop; their clone goes as rayon unwinds the broadcast, a moment later.
        while shared.strong_count() > 0 {
            std::thread::yield_now();
        }
    }
}
