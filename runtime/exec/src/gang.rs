//! The gang: threads that run the parts of a step together, kept for the life of a session.
//!
//! A private rayon pool supplies the threads once; one broadcast then lives as long as the gang, because a broadcast for
//! every step would cost more than a small step takes. Between steps the workers wait on an epoch. The caller works as
//! part 0. One caller at a time has the gang; whoever does not get it runs alone on its own thread, with the same bits.
//! A waiting thread never does foreign work: a part that ran another job would not come to the barrier.
//! `README.md` beside this file argues the protocol.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dlc_abi::{STATUS_CANCELLED, STATUS_OK};

use crate::affinity::available_threads;
use crate::barrier::{Barrier, Padded};
use crate::event::{EventWord, SPIN};
use crate::float_env::FloatEnv;

/// The most threads a gang may have.
pub const MAX_THREADS: usize = 1024;

/// Set in the epoch when the workers shall end.
const STOP: u32 = 1 << 30;

/// The work of one run: called once for each part with `(part, parts)`; returns a status, 0 for success.
type Work<'a> = dyn Fn(usize, usize) -> i32 + Sync + 'a;

/// How a gang is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GangConfig {
    /// Threads that work together, the caller included; `1..=`[`MAX_THREADS`].
    pub threads: usize,
    /// Processes on this host that run gangs of this size within the same affinity mask (ranks). Together with `threads`
    /// it decides whether waiting threads may spin.
    pub processes_on_host: usize,
}

/// Why a gang could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GangError {
    /// The number of threads is outside its range.
    #[error("a gang has 1 to {MAX_THREADS} threads, not {threads}")]
    Threads {
        /// The number asked for.
        threads: usize,
    },
    /// The operating system gave no more threads.
    #[error("could not start {threads} threads")]
    Spawn {
        /// The number asked for.
        threads: usize,
        /// What the thread pool says.
        source: rayon::ThreadPoolBuildError,
    },
}

/// Threads that run steps together.
pub struct Gang {
    shared: Arc<Shared>,
    threads: usize,
    /// Keeps the worker threads; `None` when the caller is the only thread. Dropped after the workers have left it.
    _pool: Option<rayon::ThreadPool>,
}

struct Shared {
    /// True while some caller has the gang.
    busy: Padded<AtomicBool>,
    /// Number of the present run; workers wait for it to change.
    epoch: Padded<EventWord>,
    /// The present run. Written by the caller that has the gang, before it publishes the epoch.
    job: UnsafeCell<Option<Job>>,
    /// One for each worker, that of part `p` at `p - 1`.
    workers: Box<[Padded<WorkerSlot>]>,
    barrier: Barrier,
    spin: Duration,
    /// What the first panicking part of a run said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

struct WorkerSlot {
    /// The epoch this worker has finished.
    done: EventWord,
    /// What its part returned; read after `done`.
    status: AtomicI32,
}

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    parts: usize,
}

// SAFETY: every field but `job` is Sync by itself. `job` is written only by the holder of `busy`, while every worker waits
// for the next epoch, and read only by workers between the epoch that publishes it and their own `done`, which the holder
// awaits before it writes again or gives `busy` up. The pointer inside is to a `Sync` closure. Checked by
// `two_callers_never_mix` and `many_runs_each_see_their_own_job`.
unsafe impl Sync for Shared {}
// SAFETY: as above; nothing in it belongs to one thread.
unsafe impl Send for Shared {}

impl Gang {
    /// A gang of `threads` threads in the only such process of its affinity mask.
    ///
    /// # Errors
    /// When the number is out of range or the threads cannot be started.
    pub fn new(threads: usize) -> Result<Self, GangError> {
        Self::with_config(GangConfig { threads, processes_on_host: 1 })
    }

    /// A gang as configured.
    ///
    /// # Errors
    /// When the number of threads is out of range or the threads cannot be started.
    pub fn with_config(config: GangConfig) -> Result<Self, GangError> {
        let threads = config.threads;
        if threads == 0 || threads > MAX_THREADS {
            return Err(GangError::Threads { threads });
        }
        // A thread that spins keeps a thread it waits for from running when there are more threads than processors.
        let crowded = threads.saturating_mul(config.processes_on_host.max(1)) > available_threads();
        let spin = if crowded { Duration::ZERO } else { SPIN };
        let shared = Arc::new(Shared {
            busy: Padded(AtomicBool::new(false)),
            epoch: Padded(EventWord::new(0)),
            job: UnsafeCell::new(None),
            workers: (1..threads)
                .map(|_| {
                    Padded(WorkerSlot {
                        done: EventWord::new(0),
                        status: AtomicI32::new(STATUS_OK),
                    })
                })
                .collect(),
            barrier: Barrier::new(threads, spin),
            spin,
            panic: Mutex::new(None),
        });
        let pool = if threads > 1 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads - 1)
                .thread_name(|worker| format!("dlc-gang-{}", worker + 1))
                .build()
                .map_err(|source| GangError::Spawn { threads, source })?;
            let workers = Arc::clone(&shared);
            pool.spawn_broadcast(move |context| workers.work(context.index() + 1));
            Some(pool)
        } else {
            None
        };
        let gang = Gang { shared, threads, _pool: pool };
        // An empty run returns when every worker has started, so that what threads allocate as they start is not counted as part of a
        // step, and the first step does not wait for them.
        gang.run(&|_, _| STATUS_OK);
        Ok(gang)
    }

    /// How many threads a run has when it gets the gang.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Takes the gang, or part of it, for as long as the team lives. At most `max_parts` threads take part, at least one.
    /// When another caller has the gang, this thread's own callers and the gang's workers among them, the team is the
    /// calling thread alone. Never waits.
    pub fn enter(&self, max_parts: usize) -> Team<'_> {
        let parts = self.threads.min(max_parts).max(1);
        let free = parts > 1
            && self
                .shared
                .busy
                .0
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        Team { gang: free.then_some(&*self.shared), parts: if free { parts } else { 1 } }
    }

    /// Runs `work(part, parts)` for every part, on the gang if it is free and else alone as `work(0, 1)`.
    /// See [`Team::run`].
    pub fn run(&self, work: &(dyn Fn(usize, usize) -> i32 + Sync)) -> i32 {
        self.enter(self.threads).run(work)
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        // `&mut self`: no team is alive, so every worker waits for an epoch.
        self.shared.epoch.0.publish(STOP);
        for Padded(worker) in &self.shared.workers {
            worker.done.wait_until(self.shared.spin, |done| done == STOP);
        }
    }
}

impl std::fmt::Debug for Gang {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gang").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// The threads that a caller has got: the gang, or itself alone.
pub struct Team<'g> {
    /// `None` when the calling thread is alone.
    gang: Option<&'g Shared>,
    parts: usize,
}

impl<'g> Team<'g> {
    /// The calling thread alone, for steps too short to be worth a second thread.
    pub fn alone() -> Self {
        Team { gang: None, parts: 1 }
    }

    /// How many parts a run of this team has.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Where the parts of a run meet; `None` when there is one part only.
    pub fn barrier(&self) -> Option<&'g Barrier> {
        self.gang.map(|shared| &shared.barrier)
    }

    /// Runs `work(part, parts)` once for every part, the calling thread as part 0, each in the default floating-point
    /// environment, and returns when all parts have returned: 0 when all succeeded, else the status of the first part
    /// (by number) that failed by itself, else that a part was cancelled.
    ///
    /// A part that returns, well or badly, leaves the barrier, so the others are never left waiting for it.
    ///
    /// # Panics
    /// Passes on the panic of a part, after all parts have returned. The gang stays usable.
    pub fn run(&mut self, work: &(dyn Fn(usize, usize) -> i32 + Sync)) -> i32 {
        match self.gang {
            None => {
                let _environment = FloatEnv::enter();
                work(0, 1)
            }
            Some(shared) => shared.lead(work, self.parts),
        }
    }
}

impl Drop for Team<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.gang {
            shared.busy.0.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    /// One run, from the side of the caller that has the gang.
    fn lead(&self, work: &Work<'_>, parts: usize) -> i32 {
        self.barrier.reset(parts);
        let work: *const Work<'_> = work;
        // SAFETY: only the lifetime of the pointee changes. The pointer is used by workers during this call alone: we wait
        // for every one of them below, and nothing before that can unwind, because this part's panic is caught. Checked by
        // `a_panic_reaches_the_caller_and_the_gang_survives`, whose work borrows from the caller's frame.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: we hold `busy`, and every worker waits for an epoch after the present one, so nobody reads the cell.
        // Checked by `two_callers_never_mix`.
        unsafe { *self.job.get() = Some(Job { work, parts }) };
        let epoch = (self.epoch.0.load() + 1) & (STOP - 1);
        self.epoch.0.publish(epoch);
        let own = self.run_part(Job { work, parts }, 0);
        let mut status = Status::default();
        status.add(own);
        for (worker, Padded(slot)) in self.workers.iter().enumerate() {
            slot.done.wait_until(self.spin, |done| done == epoch);
            if worker + 1 < parts {
                status.add(slot.status.load(Ordering::Relaxed));
            }
        }
        if status.0 != STATUS_OK {
            let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(payload) = panic {
                resume_unwind(payload);
            }
        }
        status.0
    }

    /// The life of a worker thread, which is part `part` of every run that is large enough.
    fn work(&self, part: usize) {
        let Padded(slot) = &self.workers[part - 1];
        let mut finished = 0;
        loop {
            let epoch = self.epoch.0.wait_until(self.spin, |epoch| epoch != finished);
            if epoch & STOP != 0 {
                slot.done.publish(STOP);
                return;
            }
            // SAFETY: the acquire load of the new epoch makes the caller's write of the job visible, and the caller writes
            // no other before it has seen our `done`. Checked by `many_runs_each_see_their_own_job`.
            let job = unsafe { *self.job.get() };
            if let Some(job) = job
                && part < job.parts
            {
                let status = self.run_part(job, part);
                slot.status.store(status, Ordering::Relaxed);
            }
            finished = epoch;
            slot.done.publish(epoch);
        }
    }

    /// Runs one part and leaves the barrier. A panic is kept for the caller.
    fn run_part(&self, job: Job, part: usize) -> i32 {
        // SAFETY: the caller of the run keeps the closure borrowed until all parts have published `done`, which this
        // part does only after this function. Checked by `a_panic_reaches_the_caller_and_the_gang_survives`.
        let work = unsafe { &*job.work };
        let result = {
            let _environment = FloatEnv::enter();
            catch_unwind(AssertUnwindSafe(|| work(part, job.parts)))
        };
        let status = result.unwrap_or_else(|payload| {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(payload);
            STATUS_CANCELLED
        });
        self.barrier.leave(part);
        status
    }
}

/// The status of a run, from those of its parts in order.
struct Status(i32);

impl Default for Status {
    fn default() -> Self {
        Status(STATUS_OK)
    }
}

impl Status {
    /// A part's own failure explains more than the cancellation it causes in others.
    fn add(&mut self, status: i32) {
        if self.0 == STATUS_OK || (self.0 == STATUS_CANCELLED && status != STATUS_OK) {
            self.0 = status;
        }
    }
}

#[cfg(test)]
mod tests;
