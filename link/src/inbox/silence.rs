//! How long a link may be silent, or busy with what never becomes whole.

use crate::error::LinkError;
use dpfw_protocol::limits::SILENCE;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long nothing came, measured only when reading has to wait: a runtime that was
/// busy elsewhere takes nobody for dead.
pub(super) struct Silence {
    limit: Duration,
    last: Instant,
    /// When there was last anything whole, and how often something came since.
    whole: Instant,
    reads: u32,
    alarm: Pin<Box<Sleep>>,
    /// When the alarm rings, and whom it wakes then.
    rings: Instant,
    wakes: Option<Waker>,
}

/// How long a frame may take while its bytes come. One of 16 KiB needs less at 300 bytes a
/// second; one whose length is wrong would swallow all that follows it.
const SLOWEST: Duration = Duration::from_secs(60);

/// If fewer than this came meanwhile, it was this side that did not read.
const FEW: u32 = 16;

impl Silence {
    pub(super) fn new() -> Self {
        let (limit, last) = (SILENCE, Instant::now());
        let (whole, rings) = (last, last + limit);
        let alarm = Box::pin(tokio::time::sleep_until(rings));
        Self { limit, last, whole, reads: 0, alarm, rings, wakes: None }
    }

    /// Gives up a frame that comes and comes, and is never whole. Something has come, and before
    /// that `was_whole` says whether anything whole.
    pub(super) fn look_for_stall(&mut self, was_whole: bool) -> Result<(), LinkError> {
        if was_whole {
            (self.whole, self.reads) = (self.last, 0);
        }
        self.reads += 1;
        let is_slow = self.last.duration_since(self.whole) > SLOWEST;
        match is_slow && self.reads > FEW {
            true => Err(LinkError::Broken(format!("a frame took longer than {SLOWEST:?}"))),
            false => Ok(()),
        }
    }

    /// Reads, unless nothing comes for too long.
    pub(super) async fn watch(
        &mut self,
        read: impl Future<Output = std::io::Result<usize>>,
    ) -> Result<usize, LinkError> {
        let mut read = pin!(read);
        std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
            Poll::Ready(n) => {
                self.last = Instant::now();
                Poll::Ready(n.map_err(Into::into))
            }
            Poll::Pending => self.poll_alarm(cx).map(Err),
        })
        .await
    }

    /// Ready once nothing has come for too long.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<LinkError> {
        // It is set, and most of the time something comes long before it rings: of a thousand links
        // none is in the processor's cache, and each place that is not looked at is time saved.
        if self.wakes.as_ref().is_some_and(|wakes| wakes.will_wake(cx.waker()))
            && Instant::now() < self.rings
        {
            return Poll::Pending;
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            self.rings = self.last + self.limit;
            if self.rings <= Instant::now() {
                return Poll::Ready(LinkError::Silent(self.limit));
            }
            self.alarm.as_mut().reset(self.rings);
        }
        self.wakes = Some(cx.waker().clone());
        Poll::Pending
    }
}
