//! `dpfw store watch`: changes of entries, a line each.

use super::failure;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::run::write;
use crate::screen::Screen;
use dpfw::Store;
use dpfw::store::Event;
use futures_util::StreamExt;
use serde_json::json;

/// Prints changes until so many lines are printed, the slave is lost, or nobody reads.
///
/// # Errors
/// The [`Failure`] that the slave is lost.
pub(super) async fn watch(
    store: &Store,
    prefix: &str,
    present: bool,
    count: Option<u64>,
    screen: &Screen,
) -> Result<Exit, Failure> {
    let watch = store.watch(prefix);
    let watch = if present { watch.with_present() } else { watch };
    let mut changes = watch.await.map_err(|e| failure(&e))?;
    screen.line(format_args!("watching"));
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let line = match changes.next().await {
            Some(Event::Lost) | None => {
                return Err(Failure::new(Exit::Link, "the link to the slave is lost"));
            }
            Some(event) => line(&event, screen)?,
        };
        left -= 1;
        match write(&line)? {
            Exit::Ok => {}
            exit => return Ok(exit),
        }
    }
    Ok(Exit::Ok)
}

fn line(event: &Event, screen: &Screen) -> Result<Vec<u8>, Failure> {
    let is_json = screen.is_json();
    Ok(match event {
        Event::Changed(change) if is_json => json::line(&json!({
            "what": change.what.as_str(), "key": change.key, "kind": change.kind.as_str(),
            "version": change.version,
        }))?,
        Event::Changed(change) => {
            let (what, key, kind) = (change.what, escape::line(&change.key), change.kind);
            format!("{what:<8}  {kind:<8}  {:>8}  {key}\n", change.version).into_bytes()
        }
        Event::Missed(missed) if is_json => json::line(&json!({ "missed": missed }))?,
        Event::Missed(missed) => format!("missed    {missed} changes\n").into_bytes(),
        // A kind that this version does not know.
        _ => Vec::new(),
    })
}
