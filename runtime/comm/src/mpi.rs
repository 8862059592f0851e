//! Ranks that are processes, started by `mpirun`.
//!
//! MPI is asked for [`Threading::Funneled`]: the thread that calls [`Mpi::start`] makes all calls, between the segments of a step.
//! Messages of an exchange belong to the transport while MPI may touch them: a rank gives its vectors away and gets them back.
#![allow(
    unsafe_code,
    reason = "requests that outlive a call have no safe form whose buffers are not borrowed as long"
)]

use mpi::Threading;
use mpi::environment::{Universe, processor_name};
use mpi::ffi;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator as _;
use std::ffi::c_int;
use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Duration;

use crate::{CommError, Communicator, Messages, Numbers, SINGLE};

/// Bytes in which a rank tells the others where it is.
const CARD: usize = 512;

/// How often a rank that shares its processors lets others run before it sleeps, and for how long.
const YIELDS: u32 = 64;
const SLEEP: Duration = Duration::from_micros(50);

/// This process's part in MPI. The last of its holders ends it, which waits for the other ranks: whoever must end the job because of a
/// failure holds it until the job is ended.
pub struct Job {
    _universe: Universe,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Drop for Job {
    /// The others wait for this rank: one that panics ends them all.
    fn drop(&mut self) {
        if std::thread::panicking() {
            abort(101);
        }
    }
}

/// The end of a rank that is a process.
pub struct Mpi {
    job: Arc<Job>,
    /// The only one that calls MPI.
    thread: ThreadId,
    rank: usize,
    ranks: usize,
    hosts: Vec<String>,
    sharers: usize,
    /// Whether a wait may keep a processor busy that another rank or thread needs.
    spins: bool,
    /// By their numbers.
    under_way: Vec<Option<UnderWay>>,
    /// Single messages that may not have left yet.
    sent: Vec<UnderWay>,
    /// By their numbers.
    sums: Vec<Option<Adding>>,
    /// Groups of ranks that have added, with what MPI knows them by.
    groups: Vec<(Vec<usize>, Group)>,
}

/// What MPI knows a group of ranks by.
#[derive(Clone, Copy)]
struct Group(ffi::MPI_Comm);

/// A sum that MPI works on.
struct Adding {
    _given: Numbers,
    taken: Numbers,
    request: ffi::MPI_Request,
    done: bool,
}

/// An exchange that MPI works on.
struct UnderWay {
    messages: Messages,
    /// From which ranks messages come.
    from: Vec<usize>,
    /// Receives from these ranks in order, then sends.
    requests: Vec<ffi::MPI_Request>,
    statuses: Vec<MaybeUninit<ffi::MPI_Status>>,
    /// Whether all requests are complete, and the statuses those of their ends.
    done: bool,
}

// SAFETY: requests are handles of MPI. They are used by the thread that started MPI alone: every method that touches them compares
// `thread` first, and none of them takes `&self`. `another_thread_is_refused` would fail otherwise.
unsafe impl Send for UnderWay {}
// SAFETY: as above.
unsafe impl Sync for UnderWay {}

// SAFETY: as for `UnderWay`: handles of MPI, which the thread that started it uses alone.
unsafe impl Send for Adding {}
// SAFETY: as above.
unsafe impl Sync for Adding {}
// SAFETY: as above.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("ranks", &self.ranks).finish()
    }
}

impl Mpi {
    /// Starts MPI. Once in a process.
    ///
    /// # Errors
    /// When it was started before, or the library cannot be called from a program with threads.
    pub fn start() -> Result<Self, CommError> {
        let (universe, found) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| transport("MPI was started before"))?;
        if found < Threading::Funneled {
            return Err(transport("this MPI library is not for programs with threads"));
        }
        let world = universe.world();
        let (rank, ranks) = (world.rank() as usize, world.size() as usize);
        let mut started = Mpi {
            job: Arc::new(Job { _universe: universe }),
            thread: std::thread::current().id(),
            rank,
            ranks,
            hosts: Vec::new(),
            sharers: 1,
            spins: false,
            under_way: Vec::new(),
            sent: Vec::new(),
            sums: Vec::new(),
            groups: Vec::new(),
        };
        started.meet()?;
        Ok(started)
    }

    /// This process's part in MPI.
    pub fn job(&self) -> Arc<Job> {
        Arc::clone(&self.job)
    }

    /// Learns where the other ranks are.
    fn meet(&mut self) -> Result<(), CommError> {
        let host = processor_name().map_err(|error| transport(&error.to_string()))?;
        let mut own = format!("{host}\n{}", allowed_processors()).into_bytes();
        own.resize(CARD, 0);
        let given = vec![own.clone(); self.ranks];
        let mut cards =
            self.exchange(Messages { given, taken: vec![vec![0; CARD]; self.ranks] })?.taken;
        cards[self.rank].copy_from_slice(&own);
        self.sharers = cards.iter().filter(|card| **card == own).count();
        let host_of = |card: &Vec<u8>| {
            let name = card.split(|&byte| byte == b'\n').next().unwrap_or_default();
            String::from_utf8_lossy(name).into_owned()
        };
        self.hosts = cards.iter().map(host_of).collect();
        Ok(())
    }

    /// Waits until something is done that was begun.
    fn wait(spins: bool, mut is_done: impl FnMut() -> bool) {
        let mut waited = 0_u32;
        while !is_done() {
            waited = waited.saturating_add(1);
            match (spins, waited > YIELDS) {
                (true, _) => std::hint::spin_loop(),
                (false, false) => std::thread::yield_now(),
                (false, true) => std::thread::sleep(SLEEP),
            }
        }
    }

    /// What MPI knows a group of ranks by. All of them ask for it together, the first time they add.
    fn group(&mut self, ranks: &[usize]) -> Result<Group, CommError> {
        if let Some((_, group)) = self.groups.iter().find(|(known, _)| known == ranks) {
            return Ok(*group);
        }
        let numbers: Vec<c_int> = ranks.iter().map(|&rank| rank as c_int).collect();
        let (mut all, mut some, mut group) =
            (MaybeUninit::uninit(), MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: a constant of the library, set before MPI is started.
        let world = unsafe { ffi::RSMPI_COMM_WORLD };
        // SAFETY: each call initialises what it is given the place of, or MPI ends the job; `numbers` has as many ranks as said, all of them
        // of the world. Sums of several groups in `tests/mpirun.rs` use it.
        let group = unsafe {
            ffi::MPI_Comm_group(world, all.as_mut_ptr());
            ffi::MPI_Group_incl(
                all.assume_init(),
                numbers.len() as c_int,
                numbers.as_ptr(),
                some.as_mut_ptr(),
            );
            ffi::MPI_Comm_create_group(world, some.assume_init(), 0, group.as_mut_ptr());
            Group(group.assume_init())
        };
        self.groups.push((ranks.to_vec(), group));
        Ok(group)
    }

    /// Room for the messages of all ranks, of which a single one goes or comes.
    fn single(&self) -> Messages {
        Messages { given: vec![Vec::new(); self.ranks], taken: vec![Vec::new(); self.ranks] }
    }

    fn check_thread(&self) -> Result<(), CommError> {
        match std::thread::current().id() == self.thread {
            true => Ok(()),
            false => Err(transport("MPI is called by another thread than the one that started it")),
        }
    }
}

/// What the MPI library calls itself, on one line. It need not be started.
pub fn library() -> String {
    let version = mpi::environment::library_version().unwrap_or_default();
    version.split([',', '\n', '\0']).next().unwrap_or_default().trim().to_owned()
}

/// The processors that this process may use, as the kernel lists them; empty where it does not tell.
fn allowed_processors() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("Cpus_allowed:"));
    line.unwrap_or_default().to_owned()
}

fn transport(message: &str) -> CommError {
    CommError::Transport { message: message.to_owned() }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // MPI may still write into the messages of an exchange that was not waited for.
        self.under_way.drain(..).for_each(std::mem::forget);
        self.sums.drain(..).for_each(std::mem::forget);
        if self.check_thread().is_ok() {
            self.sent.retain_mut(|sent| !sent.test());
        }
        self.sent.drain(..).for_each(std::mem::forget);
    }
}

/// Ends all ranks of the job at once, with this exit status. For a rank that cannot go on: the others would wait for it.
pub fn abort(status: i32) -> ! {
    SimpleCommunicator::world().abort(status)
}

impl Adding {
    fn post(group: Group, given: Numbers) -> Result<Self, CommError> {
        // SAFETY: constants of the library, set before MPI is started.
        let (single, double, sum) =
            unsafe { (ffi::RSMPI_FLOAT, ffi::RSMPI_DOUBLE, ffi::RSMPI_SUM) };
        let mut taken = match &given {
            Numbers::F32(numbers) => Numbers::F32(vec![0.0; numbers.len()]),
            Numbers::F64(numbers) => Numbers::F64(vec![0.0; numbers.len()]),
        };
        let (from, to, len, kind) = match (&given, &mut taken) {
            (Numbers::F32(from), Numbers::F32(to)) => {
                (from.as_ptr().cast(), to.as_mut_ptr().cast(), from.len(), single)
            }
            (Numbers::F64(from), Numbers::F64(to)) => {
                (from.as_ptr().cast(), to.as_mut_ptr().cast(), from.len(), double)
            }
            (Numbers::F32(_), Numbers::F64(_)) | (Numbers::F64(_), Numbers::F32(_)) => {
                unreachable!("both were made of one type")
            }
        };
        let len = c_int::try_from(len)
            .map_err(|_| transport("a sum has more numbers than MPI counts"))?;
        let mut request = MaybeUninit::uninit();
        // SAFETY: both vectors have `len` numbers of that type. Their memory neither moves nor is touched nor freed before the request is
        // complete: they stay in `Adding`, from which they come out in `finish_sum` alone, and `Drop` of `Mpi` leaks what is still under
        // way. On success the request is initialised; MPI ends the job otherwise.
        let request = unsafe {
            ffi::MPI_Iallreduce(from, to, len, kind, sum, group.0, request.as_mut_ptr());
            request.assume_init()
        };
        Ok(Adding { _given: given, taken, request, done: false })
    }

    /// Whether it is done. Moves along whatever else is under way.
    fn test(&mut self) -> bool {
        if !self.done {
            let (mut done, mut status) = (0, MaybeUninit::uninit());
            // SAFETY: a live request, which only a success changes, and a status, which it fills.
            unsafe { ffi::MPI_Test(&mut self.request, &mut done, status.as_mut_ptr()) };
            self.done = done != 0;
        }
        self.done
    }
}

impl UnderWay {
    /// Begins to receive from some ranks and to send to some.
    fn post(
        number: usize,
        mut messages: Messages,
        from: &[usize],
        to: &[usize],
    ) -> Result<Self, CommError> {
        let too_much = |_| transport("a message has more bytes than MPI counts");
        let tag = c_int::try_from(number).map_err(too_much)?;
        let mut requests = Vec::with_capacity(from.len() + to.len());
        // SAFETY: a constant of the library, set before MPI is started.
        let (bytes, world) = unsafe { (ffi::RSMPI_UINT8_T, ffi::RSMPI_COMM_WORLD) };
        for &rank in from {
            let message = &mut messages.taken[rank];
            let len = c_int::try_from(message.len()).map_err(too_much)?;
            let mut request = MaybeUninit::uninit();
            // SAFETY: MPI writes at most `len` bytes into the vector's memory, which neither moves nor is touched nor freed before the
            // request is complete: the vector stays in `UnderWay`, from which it comes out in `finish` alone, and `Drop` of `Mpi` leaks
            // what is still under way. On success the request is initialised; MPI ends the job otherwise. `tests/mpirun.rs` compares
            // what arrives.
            requests.push(unsafe {
                let to = message.as_mut_ptr().cast();
                ffi::MPI_Irecv(to, len, bytes, rank as c_int, tag, world, request.as_mut_ptr());
                request.assume_init()
            });
        }
        for &rank in to {
            let message = &messages.given[rank];
            let len = c_int::try_from(message.len()).map_err(too_much)?;
            let mut request = MaybeUninit::uninit();
            // SAFETY: as above; MPI only reads.
            requests.push(unsafe {
                let from = message.as_ptr().cast();
                ffi::MPI_Isend(from, len, bytes, rank as c_int, tag, world, request.as_mut_ptr());
                request.assume_init()
            });
        }
        let statuses = requests.iter().map(|_| MaybeUninit::uninit()).collect();
        Ok(UnderWay { messages, from: from.to_vec(), requests, statuses, done: false })
    }

    /// Whether all of it is done. Moves along whatever else is under way.
    fn test(&mut self) -> bool {
        if self.done {
            return true;
        }
        let mut done = 0;
        // SAFETY: as many live requests as said, which only a success changes, and as many statuses, which it fills.
        unsafe {
            ffi::MPI_Testall(
                self.requests.len() as c_int,
                self.requests.as_mut_ptr(),
                &mut done,
                self.statuses.as_mut_ptr().cast(),
            );
        }
        self.done = done != 0;
        self.done
    }

    /// Compares the bytes that came from each rank with those expected, once all is done.
    fn check_lengths(&self) -> Result<(), CommError> {
        assert!(self.done, "statuses are those of ended requests");
        for (&rank, status) in self.from.iter().zip(&self.statuses) {
            let mut found = 0;
            // SAFETY: receives come first in the list, and `done` says that their statuses were filled.
            unsafe { ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut found) };
            let (expected, found) = (self.messages.taken[rank].len(), found as usize);
            if expected != found {
                return Err(CommError::Length { rank, expected, found });
            }
        }
        Ok(())
    }
}

impl Communicator for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn sharers(&self) -> usize {
        self.sharers
    }

    fn settle(&mut self, threads: usize) {
        // The number of processors in the affinity mask, or fewer by a quota.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        self.spins = threads.saturating_mul(self.sharers) <= processors;
    }

    fn host(&self, rank: usize) -> Option<&str> {
        self.hosts.get(rank).map(String::as_str)
    }

    fn begin(
        &mut self,
        number: usize,
        group: &[usize],
        messages: Messages,
    ) -> Result<(), CommError> {
        self.check_thread()?;
        let others: Vec<usize> = group.iter().copied().filter(|&rank| rank != self.rank).collect();
        if self.under_way.len() <= number {
            self.under_way.resize_with(number + 1, || None);
        }
        self.under_way[number] = Some(UnderWay::post(number, messages, &others, &others)?);
        Ok(())
    }

    fn progress(&mut self) -> Result<(), CommError> {
        self.check_thread()?;
        if let Some(under_way) = self.under_way.iter_mut().flatten().find(|one| !one.done) {
            under_way.test();
        }
        if let Some(adding) = self.sums.iter_mut().flatten().find(|one| !one.done) {
            adding.test();
        }
        Ok(())
    }

    fn adds(&self) -> bool {
        true
    }

    fn begin_sum(
        &mut self,
        number: usize,
        group: &[usize],
        numbers: Numbers,
    ) -> Result<(), CommError> {
        self.check_thread()?;
        let group = self.group(group)?;
        if self.sums.len() <= number {
            self.sums.resize_with(number + 1, || None);
        }
        self.sums[number] = Some(Adding::post(group, numbers)?);
        Ok(())
    }

    fn finish_sum(&mut self, number: usize) -> Result<Numbers, CommError> {
        self.check_thread()?;
        let adding = self.sums[number].as_mut().expect("what is finished was begun");
        Self::wait(self.spins, || adding.test());
        let done = self.sums[number].take().expect("waited for above");
        Ok(done.taken)
    }

    fn finish(&mut self, number: usize) -> Result<Messages, CommError> {
        self.check_thread()?;
        let under_way = self.under_way[number].as_mut().expect("what is finished was begun");
        Self::wait(self.spins, || under_way.test());
        let done = self.under_way[number].take().expect("waited for above");
        done.check_lengths()?;
        Ok(done.messages)
    }

    fn send(&mut self, to: usize, message: Vec<u8>) -> Result<(), CommError> {
        self.check_thread()?;
        self.sent.retain_mut(|sent| !sent.test());
        let mut messages = self.single();
        messages.given[to] = message;
        self.sent.push(UnderWay::post(SINGLE, messages, &[], &[to])?);
        Ok(())
    }

    fn receive(&mut self, from: usize, message: Vec<u8>) -> Result<Vec<u8>, CommError> {
        self.check_thread()?;
        let mut messages = self.single();
        messages.taken[from] = message;
        let mut coming = UnderWay::post(SINGLE, messages, &[from], &[])?;
        Self::wait(self.spins, || coming.test());
        coming.check_lengths()?;
        Ok(std::mem::take(&mut coming.messages.taken[from]))
    }
}
