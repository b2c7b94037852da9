//! What waits of one principal.
//!
//! Owns: the lanes of its sessions, which take turns. Does not: choose among principals; the queue
//! does. Invariant: a row has no empty lane, and is not there when it has none.

use super::lane::Lane;
use crate::principals::Holdings;
use crate::session::Session;
use std::collections::VecDeque;
use std::sync::Arc;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) of: Arc<Holdings>,
    /// The next in turn first. No more than its principal has links, and one for its residents
    /// that nobody calls.
    pub(super) lanes: VecDeque<Lane>,
}

impl Row {
    /// Where the session's jobs wait, if there are any.
    pub(super) fn lane(&self, session: &Arc<Session>) -> Option<usize> {
        self.lanes.iter().position(|lane| Arc::ptr_eq(&lane.session, session))
    }

    /// The same; made if there are none yet.
    pub(super) fn lane_of(&mut self, session: &Arc<Session>) -> &mut Lane {
        let at = self.lane(session).unwrap_or_else(|| {
            self.lanes.push_back(Lane::new(session));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// How many have not begun.
    pub(super) fn unstarted(&self) -> usize {
        self.lanes.iter().map(Lane::unstarted).sum()
    }
}
