//! Standard output, written by a thread of its own: whoever reads it may be slow.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use tokio::sync::{mpsc, oneshot};

/// Pieces that wait to be written.
const AHEAD: usize = 4;

/// The way to the writing thread.
#[derive(Debug)]
pub(super) struct Output {
    pieces: mpsc::Sender<Vec<u8>>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    /// Starts the thread. It is not joined: a write to a pipe that nobody reads cannot be
    /// interrupted, and ends with the process.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start() -> io::Result<Self> {
        let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let (pieces, mut receiver) = mpsc::channel::<Vec<u8>>(AHEAD);
        let (sender, ended) = oneshot::channel();
        std::thread::Builder::new().name("dpfw-output".into()).spawn(move || {
            let mut outcome = Ok(());
            while let Some(piece) = receiver.blocking_recv() {
                outcome = stdout.write_all(&piece);
                if outcome.is_err() {
                    break;
                }
            }
            // The map may have been ended by a signal.
            let _ = sender.send(outcome);
        })?;
        Ok(Self { pieces, ended })
    }

    /// Writes a piece; waits while the thread has enough. Whether it is still read.
    pub(super) async fn write(&self, piece: Vec<u8>) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What the system said of the last write.
    pub(super) async fn end(self) -> io::Result<()> {
        drop(self.pieces);
        let lost = || io::Error::other("the writing thread has ended");
        self.ended.await.unwrap_or_else(|_| Err(lost()))
    }
}
