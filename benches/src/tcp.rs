//! The limit of the platform: bare TCP on tokio, one frame one task, nothing else.

use anyhow::Result;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The bytes of a payload.
pub(crate) const BULK: usize = 64 << 20;

/// The first byte of a connection says what it is for.
const ECHO: u8 = b'E';
const SINK: u8 = b'S';
const SOURCE: u8 = b'G';

/// Serves until it is killed.
pub(crate) fn serve() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(connection(stream));
        }
    })
}

async fn connection(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    match stream.read_u8().await? {
        ECHO => {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let n = stream.read(&mut buffer).await?;
                if n == 0 {
                    return Ok(());
                }
                stream.write_all(&buffer[..n]).await?;
            }
        }
        SINK => {
            let mut buffer = vec![0; BULK];
            loop {
                stream.read_exact(&mut buffer).await?;
                stream.write_u8(1).await?;
            }
        }
        _ => {
            let buffer = vec![7; BULK];
            loop {
                stream.read_u8().await?;
                stream.write_all(&buffer).await?;
            }
        }
    }
}

async fn connect(address: &str, what: u8) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_u8(what).await?;
    Ok(stream)
}

/// Round trips of frames of so many bytes, in microseconds.
pub(crate) async fn round_trips(address: &str, bytes: usize, count: usize) -> Result<Vec<f64>> {
    let mut stream = connect(address, ECHO).await?;
    let mut frame = vec![1; bytes];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        stream.write_all(&frame).await?;
        stream.read_exact(&mut frame).await?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(times)
}

/// Time to send a payload and get one byte back, when it was done before.
pub(crate) async fn send_bulk(address: &str, rounds: usize) -> Result<Vec<Duration>> {
    Ok(send(address, rounds + 1).await?.split_off(1))
}

/// The same for the first time: to a process whose memory has not been touched.
pub(crate) async fn send_first(address: &str) -> Result<Duration> {
    Ok(send(address, 1).await?.remove(0))
}

async fn send(address: &str, times: usize) -> Result<Vec<Duration>> {
    let mut stream = connect(address, SINK).await?;
    let bytes = vec![3; BULK];
    let mut taken = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        stream.write_all(&bytes).await?;
        stream.read_u8().await?;
        taken.push(start.elapsed());
    }
    Ok(taken)
}

/// Time to ask for a payload and have it.
pub(crate) async fn receive_bulk(address: &str, rounds: usize) -> Result<Vec<Duration>> {
    let mut stream = connect(address, SOURCE).await?;
    let mut bytes = vec![0; BULK];
    let mut times = Vec::new();
    for _ in 0..=rounds {
        let start = Instant::now();
        stream.write_u8(1).await?;
        stream.read_exact(&mut bytes).await?;
        times.push(start.elapsed());
    }
    Ok(times.split_off(1))
}
