//! Batches read ahead: a thread fetches those to come while the present one is worked on.
//!
//! There are a few slots of the size of a batch, allocated once; the thread fills them in turn and waits while all are full. What a batch
//! holds depends on its position alone, so reading ahead changes nothing but time. An error waits in its slot until its batch is asked for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use dlc_abi::ElemType;

use crate::batches::Batches;
use crate::dataset::Dataset;
use crate::error::DataError;

/// Batches that may lie ready; one more is being worked on.
const AHEAD: usize = 2;

/// Values of one column of a batch.
#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

/// A batch with the values of its columns.
#[derive(Debug)]
pub struct Slot {
    n_examples: usize,
    columns: Vec<Values>,
    error: Option<DataError>,
}

impl Slot {
    /// Examples of the batch.
    pub fn n_examples(&self) -> usize {
        self.n_examples
    }

    /// The values of the column of that number; `None` where it holds integers.
    pub fn f32(&self, column: usize) -> Option<&[f32]> {
        match self.columns.get(column) {
            Some(Values::F32(values)) => Some(values),
            Some(Values::I32(_)) | None => None,
        }
    }

    /// The values of the column of that number; `None` where it holds real numbers.
    pub fn i32(&self, column: usize) -> Option<&[i32]> {
        match self.columns.get(column) {
            Some(Values::I32(values)) => Some(values),
            Some(Values::F32(_)) | None => None,
        }
    }
}

/// Reads batches ahead; ends its thread when it is dropped.
#[derive(Debug)]
pub struct Prefetch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    /// Told when a slot is filled, emptied, or all is over.
    changed: Condvar,
}

#[derive(Debug)]
struct Queues {
    ready: VecDeque<Box<Slot>>,
    empty: VecDeque<Box<Slot>>,
    /// Nobody asks for more.
    stop: bool,
    /// The thread has ended.
    ended: bool,
}

impl Shared {
    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `take` has something or all is over.
    fn wait<T>(&self, mut take: impl FnMut(&mut Queues) -> Option<T>) -> Option<T> {
        let mut queues = self.lock();
        loop {
            if let Some(found) = take(&mut queues) {
                return Some(found);
            }
            if queues.stop || queues.ended {
                return None;
            }
            queues = self.changed.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Prefetch {
    /// Starts to read the next `n_batches` batches of some columns, each as values of its type: f32 or i32.
    ///
    /// # Errors
    /// When a column does not exist or does not serve its type, or no thread can be had.
    pub fn start(
        dataset: Dataset,
        columns: &[(String, ElemType)],
        mut batches: Batches,
        n_batches: u64,
    ) -> Result<Self, DataError> {
        let batch = batches.config().batch.min(dataset.n_examples());
        let mut empty = VecDeque::with_capacity(AHEAD + 1);
        for _ in 0..=AHEAD {
            let room = |(name, elem): &(String, ElemType)| {
                let column = dataset.column(name)?;
                let n = batch * column.row_len();
                match elem {
                    ElemType::F32 => Ok(Values::F32(Vec::with_capacity(n))),
                    ElemType::I32 if column.serves(ElemType::I32) => {
                        Ok(Values::I32(Vec::with_capacity(n)))
                    }
                    _ => Err(DataError::ColumnType {
                        column: name.clone(),
                        elem: column.elem(),
                        asked: *elem,
                    }),
                }
            };
            let columns = columns.iter().map(room).collect::<Result<_, _>>()?;
            empty.push_back(Box::new(Slot { n_examples: 0, columns, error: None }));
        }
        let ready = VecDeque::with_capacity(AHEAD + 1);
        let queues = Mutex::new(Queues { ready, empty, stop: false, ended: false });
        let shared = Arc::new(Shared { queues, changed: Condvar::new() });
        let (own, columns) = (Arc::clone(&shared), columns.to_vec());
        let work = move || {
            let _end = End(&own);
            for _ in 0..n_batches {
                let Some(mut slot) = own.wait(|queues| queues.empty.pop_front()) else { return };
                let examples = batches.next_batch().examples;
                slot.n_examples = examples.len();
                slot.error = fill(&dataset, &columns, examples, &mut slot.columns).err();
                own.lock().ready.push_back(slot);
                own.changed.notify_all();
            }
        };
        let thread = std::thread::Builder::new().name("read ahead".to_owned()).spawn(work);
        let thread = thread.map_err(|source| DataError::Thread { source })?;
        Ok(Prefetch { shared, thread: Some(thread) })
    }

    /// Hands the next batch to `take` and gives its room back. Waits where it is not ready yet; allocates nothing.
    ///
    /// # Errors
    /// That of fetching the batch, or of `take`.
    ///
    /// # Panics
    /// When more batches are asked for than were to be read.
    pub fn next<R, E: From<DataError>>(
        &mut self,
        take: impl FnOnce(&Slot) -> Result<R, E>,
    ) -> Result<R, E> {
        let ready = self.shared.wait(|queues| queues.ready.pop_front());
        let mut slot = ready.expect("no more batches are asked for than are read");
        let result = match slot.error.take() {
            Some(error) => Err(error.into()),
            None => take(&slot),
        };
        self.shared.lock().empty.push_back(slot);
        self.shared.changed.notify_all();
        result
    }
}

/// Says that the thread has ended, however it came to that.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn fill(
    dataset: &Dataset,
    names: &[(String, ElemType)],
    examples: &[u32],
    columns: &mut [Values],
) -> Result<(), DataError> {
    for ((name, _), values) in names.iter().zip(columns) {
        let n = examples.len() * dataset.column(name)?.row_len();
        match values {
            Values::F32(values) => {
                values.resize(n, 0.0);
                dataset.gather(name, examples, values)?;
            }
            Values::I32(values) => {
                values.resize(n, 0);
                dataset.gather(name, examples, values)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::BatchConfig;
    use crate::column::Column;

    fn table(labels: Vec<i32>) -> Dataset {
        let x = Column::from_f32("x", &[2], (0..2 * labels.len()).map(|i| i as f32).collect());
        Dataset::new("t", vec![x, Column::from_labels("label", None, labels)]).expect("sound")
    }

    fn names() -> [(String, ElemType); 2] {
        [("label".to_owned(), ElemType::I32), ("x".to_owned(), ElemType::F32)]
    }

    #[test]
    fn batches_come_in_order_and_hold_what_they_would_without() {
        let data = table((0..23).collect());
        let config = BatchConfig { n_examples: 23, batch: 5, seed: 3, shuffle: true };
        let mut expected = Batches::new(config).expect("sound");
        let ahead = Batches::new(config).expect("sound");
        let mut ahead = Prefetch::start(data.clone(), &names(), ahead, 12).expect("it starts");
        for _ in 0..12 {
            let examples = expected.next_batch().examples;
            let (mut labels, mut x) = (vec![0; examples.len()], vec![0.0; 2 * examples.len()]);
            data.gather("label", examples, &mut labels).expect("in range");
            data.gather("x", examples, &mut x).expect("in range");
            let seen = ahead.next(|slot| {
                assert_eq!(slot.n_examples(), examples.len());
                assert_eq!((slot.i32(0), slot.f32(1)), (Some(&labels[..]), Some(&x[..])));
                assert_eq!((slot.f32(0), slot.i32(1), slot.f32(2)), (None, None, None));
                Ok::<_, DataError>(())
            });
            seen.expect("sound data");
        }
    }

    #[test]
    fn it_ends_when_it_is_dropped_in_the_middle() {
        let config = BatchConfig { n_examples: 23, batch: 5, seed: 3, shuffle: true };
        for taken in 0..4 {
            let batches = Batches::new(config).expect("sound");
            let data = table((0..23).collect());
            let mut ahead = Prefetch::start(data, &names(), batches, u64::MAX).expect("it starts");
            for _ in 0..taken {
                ahead.next(|_| Ok::<_, DataError>(())).expect("sound data");
            }
        }
    }

    #[test]
    fn an_error_comes_with_its_batch() {
        // Labels of shards that lie far apart are looked at when they are fetched.
        let bytes = Arc::new(crate::column::Bytes::Owned([0, 1, 2, 9, 1, 2].repeat(100)));
        let shard = crate::column::Shard {
            path: None,
            bytes,
            start: 0,
            examples: 6,
            pitch: 100 - 1,
            strides: None,
        };
        let label = Column::from_shards(
            "label",
            crate::column::ColumnKind::Label,
            &[],
            crate::column::Stored::U8,
            1.0,
            vec![shard],
        );
        let label = label.expect("it fits").with_classes(3);
        let data = Dataset::new("t", vec![label]).expect("it is not looked at yet");
        let config = BatchConfig { n_examples: 6, batch: 1, seed: 3, shuffle: false };
        let batches = Batches::new(config).expect("sound");
        let mut ahead = Prefetch::start(data, &names()[..1], batches, 6).expect("it starts");
        let seen: Vec<_> = (0..6)
            .map(|_| ahead.next(|slot| Ok(slot.i32(0).expect("integers")[0])))
            .map(|result: Result<i32, DataError>| result.map_err(|error| error.to_string()))
            .collect();
        let bad = "column `label` of data `t`, example 1: label 9 is not in 0..3".to_owned();
        assert_eq!(
            seen,
            [
                Ok(0),
                Err(bad.clone()),
                Ok(0),
                Err(bad.replace("example 1", "example 3")),
                Ok(0),
                Err(bad.replace("example 1", "example 5"))
            ]
        );
        let error = Prefetch::start(
            table(vec![1]),
            &[("x".to_owned(), ElemType::I32)],
            Batches::new(BatchConfig { n_examples: 1, ..config }).expect("sound"),
            1,
        );
        assert_eq!(error.expect_err("no integers").to_string(), "column `x` holds F32, not I32");
    }
}
