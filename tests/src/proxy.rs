//! A TCP proxy that is a bad network, as bad as the test says.
//!
//! Owns: a port, and the connections that it carries on to a target. A [`Way`] is one
//! direction of all of them, steered while it runs. Does not: know what is carried.
//! Invariants: what is under way in it is bounded, in its own buffers and in the system's;
//! nothing is left behind when it is dropped.

mod way;

pub use way::Way;

use anyhow::Result;
use rustix::net::sockopt::set_socket_linger;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that the system may keep of a connection: so few that a slow way is felt at once.
const KEPT: u32 = 16 << 10;

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    shared: Arc<Shared>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    there: Way,
    back: Way,
    ends: watch::Sender<Option<End>>,
    connections: AtomicUsize,
}

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cut,
    Reset,
    /// For who dialled, as by a cut; the target is told nothing.
    Strand,
}

impl Proxy {
    /// Stands before a port. Within a runtime, on which it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn before(target: &str) -> Result<Self> {
        let socket = socket()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(target.parse()?),
            there: Way::default(),
            back: Way::default(),
            ends: watch::Sender::default(),
            connections: AtomicUsize::new(0),
        });
        let carrying = Arc::clone(&shared);
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let shared = Arc::clone(&carrying);
                connections.spawn(async move { shared.carry(stream).await });
            }
        });
        Ok(Self { address, shared, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The way from who dials to the target.
    pub fn there(&self) -> &Way {
        &self.shared.there
    }

    /// The way from the target to who dials.
    pub fn back(&self) -> &Way {
        &self.shared.back
    }

    /// Swallows everything, both ways, the ends of connections included: a partition.
    pub fn part(&self) {
        self.there().swallow();
        self.back().swallow();
    }

    /// Is a good network again, both ways.
    pub fn heal(&self) {
        self.there().pass();
        self.back().pass();
    }

    /// Ends all connections that there are, as a process that closes them does.
    pub fn cut(&self) {
        self.shared.ends.send_replace(Some(End::Cut));
    }

    /// Resets all connections that there are.
    pub fn reset(&self) {
        self.shared.ends.send_replace(Some(End::Reset));
    }

    /// Ends all connections that there are for who dialled alone: to the target they stand,
    /// and carry nothing.
    pub fn strand(&self) {
        self.shared.ends.send_replace(Some(End::Strand));
    }

    /// Stands before another port from now on; connections that there are stay as they are.
    ///
    /// # Errors
    /// If that is no address.
    pub fn lead_to(&self, target: &str) -> Result<()> {
        *self.shared.target() = target.parse()?;
        Ok(())
    }

    /// How many connections it carries.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With it go the connections.
        self.listening.abort();
    }
}

impl Shared {
    fn target(&self) -> MutexGuard<'_, SocketAddr> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(&self, mut near: TcpStream) {
        let mut ends = self.ends.subscribe();
        let target = *self.target();
        let Ok(mut far) = dial(target).await else { return };
        self.connections.fetch_add(1, Ordering::SeqCst);
        let _counted = Counted(&self.connections);
        let ((near_in, near_out), (far_in, far_out)) = (near.split(), far.split());
        let carried = async {
            tokio::try_join!(self.there.carry(near_in, far_out), self.back.carry(far_in, near_out))
        };
        let end = tokio::select! {
            carried = carried => if carried.is_ok() { End::Cut } else { End::Reset },
            _ = ends.changed() => ends.borrow().unwrap_or(End::Cut),
        };
        // One of them may be gone already.
        let _ = match end {
            End::Reset => reset_when_closed(&near).and_then(|()| reset_when_closed(&far)),
            End::Cut | End::Strand => near.shutdown().await,
        };
        if end == End::Strand {
            drop(near);
            // Until the proxy is dropped.
            std::future::pending::<()>().await;
        }
        let _ = far.shutdown().await;
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(KEPT)?;
    socket.set_send_buffer_size(KEPT)?;
    Ok(socket)
}

async fn dial(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = socket()?.connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn reset_when_closed(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}
