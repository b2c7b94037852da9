//! The token, shown by hand.
//!
//! Does not: use the link's own code; what is here is what docs/protocol.md says.

use anyhow::{Context, Result, ensure};
use blake3::Hash;
use dpfw::security::token_file;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What begins a link that is asked for a token.
pub const KNOCK: [u8; 8] = *b"dpfw\r\n\x1ak";

/// The user's token.
///
/// # Errors
/// If there is none yet.
pub fn token() -> Result<[u8; 32]> {
    let file = token_file().context("there is no place for a token")?;
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(*Hash::from_hex(text.trim_end())?.as_bytes())
}

/// The hash that a side shows.
pub fn shown(token: &[u8; 32], side: &str, dialler: &[u8], listener: &[u8]) -> Hash {
    let text = [format!("dpfw token, v1: {side}").as_bytes(), dialler, listener].concat();
    blake3::keyed_hash(token, &text)
}

/// Shows the user's token to a listener, and sees that it has it.
///
/// # Errors
/// If it has not, or ends the connection.
pub async fn knock(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let (ours, token) = ([7; 32], token()?);
    stream.write_all(&[&KNOCK[..], &ours].concat()).await?;
    let mut answer = [0; 72];
    stream.read_exact(&mut answer).await.context("the listener answers no knock")?;
    let (magic, rest) = answer.split_at(8);
    let (theirs, hash) = rest.split_at(32);
    ensure!(magic == KNOCK, "{magic:?} is no answer to a knock");
    ensure!(shown(&token, "listener", &ours, theirs) == *hash, "the listener has another token");
    Ok(stream.write_all(shown(&token, "dialler.", &ours, theirs).as_bytes()).await?)
}

/// Answers whoever knocks, as a listener with the user's token does.
///
/// # Errors
/// If what comes is no knock, or is of another token.
pub async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
    let mut knock = [0; 40];
    stream.read_exact(&mut knock).await.context("nobody knocks")?;
    let (magic, theirs) = knock.split_at(8);
    ensure!(magic == KNOCK, "{magic:?} is no knock");
    let (ours, token) = ([9; 32], token()?);
    let hash = shown(&token, "listener", theirs, &ours);
    stream.write_all(&[&KNOCK[..], &ours, hash.as_bytes()].concat()).await?;
    let mut theirs_shown = [0; 32];
    stream.read_exact(&mut theirs_shown).await?;
    ensure!(shown(&token, "dialler.", theirs, &ours) == theirs_shown, "the peer has another token");
    Ok(())
}
