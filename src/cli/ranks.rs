//! Ranks of a job: this process as one of several that `mpirun` has started, and threads of this process.

use dlc::comm::Communicator;

use super::Outcome;
#[cfg(not(feature = "mpi"))]
use super::wrong_input;

/// Held until the command has ended: the end of the job waits for all ranks.
#[cfg(feature = "mpi")]
pub(super) type Job = std::sync::Arc<dlc::comm::mpi::Job>;
#[cfg(not(feature = "mpi"))]
pub(super) type Job = ();

/// Joins the other ranks of the job; `None` when this process was not started by `mpirun`, or as the only one.
pub(super) fn join() -> anyhow::Result<Option<(Job, Box<dyn Communicator>)>> {
    match dlc::comm::launched_ranks() {
        Some(ranks) if ranks > 1 => start(ranks).map(Some),
        _ => Ok(None),
    }
}

#[cfg(feature = "mpi")]
fn start(_: usize) -> anyhow::Result<(Job, Box<dyn Communicator>)> {
    let comm = dlc::comm::mpi::Mpi::start()?;
    Ok((comm.job(), Box::new(comm)))
}

#[cfg(not(feature = "mpi"))]
fn start(ranks: usize) -> anyhow::Result<(Job, Box<dyn Communicator>)> {
    // Each would train the whole by itself, and all would write the same files.
    Err(wrong_input(format!(
        "this `dlc` was built without MPI, but {ranks} of it were started together; build it with `--features mpi`"
    )))
}

/// Which rank this is, and where, for messages.
pub(super) fn place(comm: &dyn Communicator) -> String {
    let (rank, ranks) = (comm.rank(), comm.ranks());
    match comm.host(rank) {
        Some(host) => format!("rank {rank} of {ranks} on {host}"),
        None => format!("rank {rank} of {ranks}"),
    }
}

/// Ends a command of a rank. When it failed, the others, who would wait for it for ever, are ended with it, once its message is out.
pub(super) fn end(place: &str, result: anyhow::Result<Outcome>) -> anyhow::Result<Outcome> {
    #[cfg(feature = "mpi")]
    if let Err(error) = &result {
        // In one piece: what the pieces of a line are to `mpirun`, other ranks' lines come between.
        let line = format!("error: {place}: {error:#}\n");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
        dlc::comm::mpi::abort(i32::from(super::FAILED));
    }
    let _ = place;
    result
}

/// What ranks of one process came to: the failure that was not caused by another's, where there is one.
pub(super) fn first_cause(outcomes: Vec<anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let is_echo = |error: &anyhow::Error| {
        matches!(
            error.downcast_ref::<dlc::Error>(),
            Some(dlc::Error::Run(dlc_train::TrainError::Comm(dlc::comm::CommError::Lost { .. })))
        )
    };
    let at = outcomes
        .iter()
        .position(|outcome| outcome.as_ref().is_err_and(|error| !is_echo(error)))
        .or_else(|| outcomes.iter().position(Result::is_err))
        .unwrap_or(0);
    outcomes.into_iter().nth(at).unwrap_or(Ok(Outcome::Done))
}
