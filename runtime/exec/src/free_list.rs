//! A list of idle values that running calls borrow: each concurrent `predict` owns a workspace of its own.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Idle values of one kind. It grows to the largest number ever borrowed at once and never shrinks.
///
/// The lock is held for a push or a pop, never while a value is in use.
#[derive(Debug)]
pub struct FreeList<T> {
    idle: Mutex<Idle<T>>,
}

#[derive(Debug)]
struct Idle<T> {
    values: Vec<T>,
    /// Values made so far, idle or borrowed. `values` has room for all of them, so that giving one back never allocates.
    n_made: usize,
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> FreeList<T> {
    /// An empty list.
    pub fn new() -> Self {
        FreeList { idle: Mutex::new(Idle { values: Vec::new(), n_made: 0 }) }
    }

    /// Borrows an idle value, or makes one when all are in use. The value comes back when the lease is dropped.
    ///
    /// # Errors
    /// Whatever `make` reports.
    pub fn take<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<Lease<'_, T>, E> {
        let idle = self.lock().values.pop();
        let value = match idle {
            Some(value) => value,
            None => {
                let value = make()?;
                let mut idle = self.lock();
                idle.n_made += 1;
                let missing = idle.n_made - idle.values.len();
                idle.values.reserve(missing);
                value
            }
        };
        Ok(Lease { list: self, value: Some(value) })
    }

    /// How many values are idle now.
    pub fn n_idle(&self) -> usize {
        self.lock().values.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle<T>> {
        // A push or a pop leaves the list whole even when another thread panicked around it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value on loan from a [`FreeList`].
#[derive(Debug)]
pub struct Lease<'a, T> {
    list: &'a FreeList<T>,
    value: Option<T>,
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("taken only when dropped")
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("taken only when dropped")
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.list.lock().values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn values_are_reused_and_made_only_when_all_are_out() {
        let list = FreeList::new();
        let mut made = 0;
        let mut make = || {
            made += 1;
            Ok::<_, Infallible>(made)
        };
        {
            let first = list.take(&mut make).expect("cannot fail");
            let second = list.take(&mut make).expect("cannot fail");
            assert_ne!(*first, *second, "two borrowers never share a value");
            assert_eq!(list.n_idle(), 0);
        }
        assert_eq!(list.n_idle(), 2);
        drop(list.take(&mut make).expect("cannot fail"));
        assert_eq!(made, 2);
    }

    #[test]
    fn a_failure_to_make_is_passed_on() {
        let list = FreeList::<u8>::new();
        assert_eq!(list.take(|| Err("no memory")).err(), Some("no memory"));
    }
}
