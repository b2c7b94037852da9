//! A peer that speaks no dpfw.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Everything that a listener says to a peer that says this.
pub(crate) async fn said_to(address: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(bytes).await?;
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut said).await;
    Ok(said)
}
