//! The exchanges of a program with other ranks, in the middle of a step.

use dlc_abi::{Among, BufferRole, Dim, ElemType, ExchangeDesc, ExchangeKind, Manifest};
use dlc_comm::{Communicator, Messages, Numbers};
use dlc_exec::Workspace;

use crate::error::TrainError;
use crate::ranks::Ranks;

/// Exchanges of a program, gathered to one message to each other rank where they are due together.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    meetings: Vec<Meeting>,
}

/// Exchanges between the same ranks that begin after one segment and end before another.
#[derive(Debug)]
struct Meeting {
    /// Tells it from the others. Programs of different stages differ, but those that have a part in it give it one number.
    number: usize,
    /// The segment before which it begins.
    begin: usize,
    /// The segment before which it ends, the same or a later one.
    end: usize,
    among: Among,
    group: Vec<usize>,
    exchanges: Vec<Exchange>,
    /// To and from each rank of the group: a row of each exchange, then a byte that tells whether the rank wants the run to stop.
    messages: Messages,
    /// In place of messages, numbers that the transport adds up, one exchange after the other.
    sum: Option<Numbers>,
}

/// An exchange with the size of a row of what is taken.
#[derive(Debug)]
struct Exchange {
    desc: ExchangeDesc,
    row: Row,
}

/// The size of what one rank gives another.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    shape: Vec<Dim>,
    element: usize,
    max_batch: i64,
}

impl Row {
    /// A row of what an exchange takes.
    ///
    /// # Errors
    /// When the program was made for another number of parts.
    pub fn of(manifest: &Manifest, desc: &ExchangeDesc, parts: u32) -> Result<Self, TrainError> {
        let taken = &manifest.buffers[desc.to];
        if desc.kind == ExchangeKind::AllReduce {
            let (shape, element) = (taken.shape.clone(), taken.elem.size());
            return Ok(Row { shape, element, max_batch: manifest.max_batch });
        }
        let rows = taken.shape.first().and_then(|dim| dim.as_fixed());
        if rows != Some(i64::from(parts)) || taken.role != BufferRole::Message {
            return Err(TrainError::Contract {
                program: manifest.name.clone(),
                problem: format!("it was made for {rows:?} {}, not {parts}", desc.among.name()),
            });
        }
        let (shape, element) = (taken.shape[1..].to_vec(), taken.elem.size());
        Ok(Row { shape, element, max_batch: manifest.max_batch })
    }

    fn at(&self, batch: i64) -> usize {
        self.shape.iter().map(|dim| dim.at(batch)).product::<i64>() as usize * self.element
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.at(self.max_batch)
    }

    /// Bytes that travel for a batch: those in use, where they stand together.
    fn used(&self, batch: usize) -> usize {
        let outer = self.shape.iter().take_while(|dim| dim.batch_factor == 0);
        let together = outer.map(|dim| dim.constant).product::<i64>() == 1;
        let grows = self.shape.iter().any(|dim| dim.batch_factor != 0);
        match i64::try_from(batch) {
            Ok(batch) if grows && together => self.at(batch),
            _ => self.stride(),
        }
    }
}

impl Exchanges {
    /// The exchanges of a program between ranks: those that end within the first `inner` segments, which are run for each micro-batch,
    /// and all others.
    ///
    /// # Errors
    /// When the program was made for another number of parts.
    pub fn of(
        manifest: &Manifest,
        ranks: &Ranks,
        inner: usize,
    ) -> Result<(Self, Self), TrainError> {
        let mut meetings: Vec<Meeting> = Vec::new();
        for desc in manifest.exchanges.iter().filter(|desc| desc.among != Among::MicroBatches) {
            let group = ranks.group(desc.among);
            let row = Row::of(manifest, desc, group.len() as u32)?;
            let (begin, end) = ((desc.after + 1).min(desc.before), desc.before);
            // Programs of different stages and slices have other segments, so that their exchanges do not travel together.
            let mut sum = numbers(manifest, desc)?;
            let same = |meeting: &Meeting| {
                (meeting.among, desc.among) == (Among::Replicas, Among::Replicas)
                    && (meeting.begin, meeting.end) == (begin, end)
                    && match (&meeting.sum, &sum) {
                        (None, None) => true,
                        (Some(one), Some(other)) => {
                            std::mem::discriminant(one) == std::mem::discriminant(other)
                        }
                        (None, Some(_)) | (Some(_), None) => false,
                    }
            };
            let at = meetings.iter().position(same).unwrap_or_else(|| {
                let alike = meetings.iter().filter(|meeting| meeting.among == desc.among).count();
                // No number of exchanges outside programs, and none of those between other ranks.
                let number = 1 + Among::ALL.len() * alike + desc.among as usize;
                let mut given = vec![Vec::new(); ranks.n_ranks()];
                group.iter().for_each(|&rank| given[rank].push(0));
                let messages = Messages { taken: given.clone(), given };
                let (among, exchanges, sum) = (desc.among, Vec::new(), sum.take());
                let meeting =
                    Meeting { number, begin, end, among, group, exchanges, messages, sum };
                meetings.push(meeting);
                meetings.len() - 1
            });
            let meeting = &mut meetings[at];
            for &rank in meeting.group.iter().filter(|_| meeting.sum.is_none()) {
                let Messages { given, taken } = &mut meeting.messages;
                for message in [&mut given[rank], &mut taken[rank]] {
                    message.resize(message.len() + row.stride(), 0);
                }
            }
            meeting.exchanges.push(Exchange { desc: desc.clone(), row });
        }
        let (within, beyond) = meetings
            .into_iter()
            .partition(|meeting| meeting.among == Among::Slices && meeting.end <= inner);
        Ok((Exchanges { meetings: within }, Exchanges { meetings: beyond }))
    }

    /// The segments before which exchanges begin or end, ascending.
    pub fn stops(&self) -> Vec<usize> {
        let mut stops: Vec<usize> =
            self.meetings.iter().flat_map(|meeting| [meeting.begin, meeting.end]).collect();
        stops.sort_unstable();
        stops.dedup();
        stops
    }

    /// Begins and ends the exchanges that are due before a segment of a run on `batch` examples. What is complete goes out before anything
    /// is waited for.
    ///
    /// # Errors
    /// When another rank is gone.
    pub fn stop_before(
        &mut self,
        segment: usize,
        workspace: &mut Workspace,
        batch: usize,
        ranks: &mut Ranks,
    ) -> Result<(), TrainError> {
        for meeting in self.meetings.iter_mut().filter(|meeting| meeting.begin == segment) {
            if let Some(numbers) = &mut meeting.sum {
                let bytes =
                    meeting.exchanges.iter().map(|one| workspace.bytes(one.desc.from, batch));
                let numbers = filled(numbers, bytes);
                ranks.comm().begin_sum(meeting.number, &meeting.group, numbers)?;
                continue;
            }
            meeting.give(workspace, batch, ranks.wish());
            let messages = std::mem::take(&mut meeting.messages);
            ranks.comm().begin(meeting.number, &meeting.group, messages)?;
        }
        for meeting in self.meetings.iter_mut().filter(|meeting| meeting.end == segment) {
            if meeting.sum.is_some() {
                let numbers = ranks.comm().finish_sum(meeting.number)?;
                let mut first = 0;
                for Exchange { desc, .. } in &meeting.exchanges {
                    first += put(&numbers, first, workspace.bytes_mut(desc.to, batch));
                }
                meeting.sum = Some(numbers);
                continue;
            }
            meeting.messages = ranks.comm().finish(meeting.number)?;
            let stops = meeting.take(workspace, batch, ranks.rank());
            ranks.set_agreed(stops);
        }
        ranks.progress()
    }
}

/// Room for the numbers that an exchange leaves to the transport to add up; `None` for other exchanges.
fn numbers(manifest: &Manifest, desc: &ExchangeDesc) -> Result<Option<Numbers>, TrainError> {
    if desc.kind != ExchangeKind::AllReduce {
        return Ok(None);
    }
    let buffer = &manifest.buffers[desc.to];
    match buffer.elem {
        ElemType::F32 => Ok(Some(Numbers::F32(Vec::new()))),
        ElemType::F64 => Ok(Some(Numbers::F64(Vec::new()))),
        ElemType::I32
        | ElemType::I64
        | ElemType::U8
        | ElemType::Bool
        | ElemType::Bf16
        | ElemType::F16
        | ElemType::I8 => Err(TrainError::Contract {
            program: manifest.name.clone(),
            problem: format!("`{}` is of a type that transports do not add", buffer.name),
        }),
    }
}

/// The numbers of some buffers, in the room of those of an earlier step.
fn filled<'a>(room: &mut Numbers, buffers: impl Iterator<Item = &'a [u8]>) -> Numbers {
    let mut numbers = std::mem::replace(room, Numbers::F32(Vec::new()));
    match &mut numbers {
        Numbers::F32(numbers) => {
            numbers.clear();
            buffers.for_each(|bytes| {
                numbers.extend(bytes.as_chunks().0.iter().map(|own| f32::from_le_bytes(*own)));
            });
        }
        Numbers::F64(numbers) => {
            numbers.clear();
            buffers.for_each(|bytes| {
                numbers.extend(bytes.as_chunks().0.iter().map(|own| f64::from_le_bytes(*own)));
            });
        }
    }
    numbers
}

/// Fills a buffer with numbers from the one of this place on; how many these are.
fn put(numbers: &Numbers, first: usize, to: &mut [u8]) -> usize {
    match numbers {
        Numbers::F32(numbers) => {
            let places = to.as_chunks_mut().0;
            places.iter_mut().zip(&numbers[first..]).for_each(|(to, n)| *to = n.to_le_bytes());
            places.len()
        }
        Numbers::F64(numbers) => {
            let places = to.as_chunks_mut().0;
            places.iter_mut().zip(&numbers[first..]).for_each(|(to, n)| *to = n.to_le_bytes());
            places.len()
        }
    }
}

impl Meeting {
    /// Writes what this rank gives into its messages.
    fn give(&mut self, workspace: &Workspace, batch: usize, wish: bool) {
        let bytes = self.exchanges.iter().map(|exchange| exchange.row.used(batch)).sum::<usize>();
        for &rank in &self.group {
            let Messages { given, taken } = &mut self.messages;
            given[rank].resize(bytes + 1, 0);
            taken[rank].resize(bytes + 1, 0);
        }
        let mut offset = 0;
        for Exchange { desc, row } in &self.exchanges {
            let from = workspace.bytes(desc.from, batch);
            let (stride, used) = (row.stride(), row.used(batch));
            for (at, &rank) in self.group.iter().enumerate() {
                let source = match desc.kind {
                    ExchangeKind::AllToAll => &from[at * stride..at * stride + used],
                    // Sums are not given in messages.
                    ExchangeKind::AllGather | ExchangeKind::AllReduce => &from[..used],
                };
                self.messages.given[rank][offset..offset + used].copy_from_slice(source);
            }
            offset += used;
        }
        for &rank in &self.group {
            self.messages.given[rank][offset] = u8::from(wish);
        }
    }

    /// Reads what this rank takes; whether some rank wants the run to stop.
    fn take(&mut self, workspace: &mut Workspace, batch: usize, own: usize) -> bool {
        let Messages { given, taken } = &mut self.messages;
        taken[own].copy_from_slice(&given[own]);
        let mut offset = 0;
        for Exchange { desc, row } in &self.exchanges {
            let to = workspace.bytes_mut(desc.to, batch);
            let (stride, used) = (row.stride(), row.used(batch));
            for (at, &rank) in self.group.iter().enumerate() {
                to[at * stride..at * stride + used]
                    .copy_from_slice(&taken[rank][offset..offset + used]);
            }
            offset += used;
        }
        self.group.iter().any(|&rank| taken[rank][offset] != 0)
    }
}
