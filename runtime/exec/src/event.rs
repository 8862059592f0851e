//! A word that threads wait on: they spin for a moment, then sleep in the kernel.
//!
//! The protocol and the argument for it are in `README.md` beside this file. The whole state, sleepers included, is one
//! atomic word, so no fence between two locations is ever needed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a waiting thread spins before it sleeps. A futex wake costs about as much, so a longer spin only burns power.
pub(crate) const SPIN: Duration = Duration::from_micros(20);

/// The part of [`SPIN`] in which the thread keeps its processor to itself; after it, every look at the clock offers the
/// processor to others, which costs nothing when none wants it.
const SPIN_WITHOUT_YIELD: Duration = Duration::from_micros(5);

/// How much longer a thread spins in its first wait after it has woken another. Until the other runs, some 5 to 50 µs pass; a
/// thread that slept in the meantime would have to be woken in its turn, and two threads that once fell out of step would
/// wake each other for ever, at every barrier.
const SPIN_AFTER_WAKE: Duration = Duration::from_micros(100);

thread_local! {
    /// True when the calling thread has woken another since it last waited.
    static HAS_WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// Set in the word while at least one thread sleeps on it or is about to. Users' values stay below.
const SLEEPER: u32 = 1 << 31;

/// Pauses between two looks at the clock, which costs as much as several pauses.
const PAUSES_PER_CLOCK_READ: u32 = 32;

/// One waitable word. Values are 31 bits wide.
pub(crate) struct EventWord {
    word: AtomicU32,
    #[cfg(not(target_os = "linux"))]
    portable: portable::Sleep,
}

impl EventWord {
    pub(crate) fn new(value: u32) -> Self {
        debug_assert_eq!(value & SLEEPER, 0);
        EventWord {
            word: AtomicU32::new(value),
            #[cfg(not(target_os = "linux"))]
            portable: portable::Sleep::default(),
        }
    }

    /// The present value, with acquire ordering.
    pub(crate) fn load(&self) -> u32 {
        self.word.load(Ordering::Acquire) & !SLEEPER
    }

    /// Sets the value while no thread waits and none can begin to: the next hand-over publishes it.
    pub(crate) fn reset(&self, value: u32) {
        self.word.store(value, Ordering::Relaxed);
    }

    /// Replaces the value, releasing all earlier writes of this thread, and wakes every sleeper.
    pub(crate) fn publish(&self, value: u32) {
        debug_assert_eq!(value & SLEEPER, 0);
        let old = self.word.swap(value, Ordering::Release);
        if old & SLEEPER != 0 {
            HAS_WOKEN.set(true);
            self.wake_all();
        }
    }

    /// Sets bits of the value, releasing all earlier writes of this thread, and wakes every sleeper.
    pub(crate) fn mark(&self, bits: u32) {
        debug_assert_eq!(bits & SLEEPER, 0);
        let old = self.word.fetch_or(bits, Ordering::Release);
        if old & SLEEPER != 0 {
            HAS_WOKEN.set(true);
            self.wake_all();
        }
    }

    /// Waits until `accept` holds for the value and returns that value. Spins for at most `spin`, then sleeps.
    pub(crate) fn wait_until(&self, spin: Duration, accept: impl Fn(u32) -> bool) -> u32 {
        let value = self.load();
        if accept(value) {
            return value;
        }
        let has_woken = HAS_WOKEN.replace(false);
        if !spin.is_zero() {
            let spin = if has_woken { spin + SPIN_AFTER_WAKE } else { spin };
            let start = Instant::now();
            loop {
                for _ in 0..PAUSES_PER_CLOCK_READ {
                    std::hint::spin_loop();
                    let value = self.load();
                    if accept(value) {
                        return value;
                    }
                }
                let waited = start.elapsed();
                if waited >= spin {
                    break;
                }
                if has_woken || waited >= SPIN_WITHOUT_YIELD {
                    // The other may be queued behind us, on this very processor.
                    std::thread::yield_now();
                }
            }
        }
        loop {
            let word = self.word.load(Ordering::Acquire);
            if accept(word & !SLEEPER) {
                return word & !SLEEPER;
            }
            let announced = word | SLEEPER;
            // Whoever changes the word after this exchange sees the bit and wakes us; whoever changed it before makes
            // the exchange fail.
            if word == announced
                || self
                    .word
                    .compare_exchange(word, announced, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
            {
                self.sleep_while(announced);
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl EventWord {
    /// Sleeps unless the word already differs; may wake for no reason.
    fn sleep_while(&self, expected: u32) {
        use rustix::thread::futex;
        // Every error means "look again": the word had changed, or a signal came.
        let _ = futex::wait(&self.word, futex::Flags::PRIVATE, expected, None);
    }

    fn wake_all(&self) {
        use rustix::thread::futex;
        // The kernel reads the count as a signed number.
        let _ = futex::wake(&self.word, futex::Flags::PRIVATE, i32::MAX as u32);
    }
}

#[cfg(not(target_os = "linux"))]
impl EventWord {
    fn sleep_while(&self, expected: u32) {
        self.portable.sleep_while(|| self.word.load(Ordering::Acquire) == expected);
    }

    fn wake_all(&self) {
        self.portable.wake_all();
    }
}

/// Sleeping where there is no futex. It is compiled on Linux too, under test, so that it is never dead text.
#[cfg(any(test, not(target_os = "linux")))]
mod portable {
    use std::sync::{Condvar, Mutex, PoisonError};

    #[derive(Default)]
    pub(super) struct Sleep {
        lock: Mutex<()>,
        condition: Condvar,
    }

    impl Sleep {
        /// Sleeps unless `unchanged` is false; may wake for no reason.
        pub(super) fn sleep_while(&self, unchanged: impl Fn() -> bool) {
            // The word is read under the lock, and a waker takes the lock after it has changed the word: either we see
            // the change, or the waker finds us on the condition.
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            if unchanged() {
                drop(self.condition.wait(guard));
            }
        }

        pub(super) fn wake_all(&self) {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.condition.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Two threads hand a counter back and forth; a lost wake-up would hang the test.
    fn ping_pong(spin: Duration, rounds: u32) {
        let words = Arc::new([EventWord::new(0), EventWord::new(0)]);
        let other = Arc::clone(&words);
        let echo = std::thread::spawn(move || {
            for round in 1..=rounds {
                other[0].wait_until(spin, |value| value == round);
                other[1].publish(round);
            }
        });
        for round in 1..=rounds {
            words[0].publish(round);
            assert_eq!(words[1].wait_until(spin, |value| value == round), round);
        }
        echo.join().expect("the echo does not fail");
    }

    #[test]
    fn no_wake_up_is_lost_when_threads_sleep_at_once() {
        ping_pong(Duration::ZERO, 20_000);
    }

    #[test]
    fn no_wake_up_is_lost_between_spinning_and_sleeping() {
        ping_pong(Duration::from_nanos(500), 20_000);
    }

    #[test]
    fn marks_keep_the_value_and_wake_all_sleepers() {
        let word = Arc::new(EventWord::new(5));
        let sleepers: Vec<_> = (0..3)
            .map(|_| {
                let word = Arc::clone(&word);
                std::thread::spawn(move || word.wait_until(Duration::ZERO, |value| value & 8 != 0))
            })
            .collect();
        word.mark(8);
        for sleeper in sleepers {
            assert_eq!(sleeper.join().expect("the sleeper wakes"), 13);
        }
    }

    #[test]
    fn the_portable_sleep_loses_no_wake_up() {
        let shared = Arc::new((portable::Sleep::default(), AtomicU32::new(0)));
        let other = Arc::clone(&shared);
        let sleeper = std::thread::spawn(move || {
            for round in 0..5_000 {
                while other.1.load(Ordering::Acquire) <= round {
                    other.0.sleep_while(|| other.1.load(Ordering::Acquire) <= round);
                }
            }
        });
        for _ in 0..5_000 {
            shared.1.fetch_add(1, Ordering::Release);
            shared.0.wake_all();
        }
        sleeper.join().expect("the sleeper sees every round");
    }
}
