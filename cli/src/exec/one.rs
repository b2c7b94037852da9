//! One program, its streams between those of this process.
//!
//! Invariant: memory is bounded by the windows of the streams: what standard output does
//! not take is not asked for, and what the program does not read is not read here.

use super::Exec;
use crate::exit::{Exit, Failure};
use crate::master;
use crate::run::output_failed;
use crate::screen::Screen;
use crate::signals::Signals;
use dpfw::{Cause, ExitStatus, Master, ProgramHandle, TaskError};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Runs the program; gives its exit code.
pub(super) async fn run(exec: &Exec, screen: &Screen) -> Result<u8, Failure> {
    let mut signals = Signals::new()?;
    let program = exec.program()?.args(exec.args().iter().cloned());
    let master = exec.place.build(screen, &mut signals).await?;
    // Nothing is read before the program asks: it may leave a terminal's lines to the shell.
    let running = master.run(program.stdin(tokio::io::stdin()));
    let ended = tokio::select! {
        ended = pass_on(running) => ended,
        exit = signals.next() => Err(master::cancelled(exit)),
    };
    end(&master, ended).await
}

async fn end(master: &Master, ended: Result<u8, Failure>) -> Result<u8, Failure> {
    master::end(master).await;
    ended
}

/// Takes the output to its end, and gives the exit code.
async fn pass_on(mut running: ProgramHandle) -> Result<u8, Failure> {
    let copied = copy(running.stdout()).await;
    if let Err(error) = copied {
        // The program is cancelled: nobody takes what it writes.
        return output_failed(&error).map(Exit::code);
    }
    running.status().await.map(|status| code(&status)).map_err(|error| failed(&error))
}

/// Of a panic the first line: the rest of the message has come as lines of stderr.
fn failed(error: &TaskError) -> Failure {
    let mut failure = Failure::of_task(error);
    if let Cause::Panic { .. } = error.cause()
        && let Some((first, _)) = failure.text.split_once('\n')
    {
        let first = first.trim_end_matches(':').to_owned();
        failure.causes.insert(0, std::mem::replace(&mut failure.text, first));
    }
    failure
}

/// As much as a pipe holds.
const PIECE: usize = 64 * 1024;

/// Copies to standard output. What ends the program's output early, its status tells.
///
/// # Errors
/// Standard output's.
async fn copy(mut from: impl AsyncRead + Unpin) -> io::Result<()> {
    let (mut to, mut piece) = (tokio::io::stdout(), vec![0; PIECE]);
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        to.write_all(&piece[..read]).await?;
        // It is shown at once, as the program itself would have.
        to.flush().await?;
    }
    Ok(())
}

/// The exit code as the system takes it.
fn code(status: &ExitStatus) -> u8 {
    u8::try_from(status.code()).unwrap_or(u8::MAX)
}
