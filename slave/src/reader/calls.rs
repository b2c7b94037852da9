//! Calls of residents, as a master says them.
//!
//! Owns: the session's methods by their numbers. Does not: run a call; the residents do. Invariant:
//! what names a method or a conversation that cannot be ends the link.

use super::Reader;
use super::arriving::Arriving;
use crate::residents::{Called, Method, Residents};
use dpfw_link::LinkError;
use dpfw_protocol::Bytes;
use dpfw_protocol::error::{Cause, Limit};
use dpfw_protocol::ids::ConversationId;
use dpfw_protocol::limits::MAX_BINDS;
use dpfw_protocol::message::{BindMethod, CallResident};
use std::time::{Duration, Instant};

impl Reader {
    pub(super) fn bind_method(&mut self, bind: BindMethod) -> Result<(), LinkError> {
        let (method, count) = (bind.method, self.methods.len());
        if method.0 as usize != count || count >= MAX_BINDS {
            return Err(LinkError::Broken(format!("method {method} is bound out of turn")));
        }
        let mut method = Method::new(bind);
        method.room = Some(self.room_for(method.bytes())?);
        self.methods.push(method);
        Ok(())
    }

    /// A call of a resident. Its arguments may still be coming.
    pub(super) fn call(
        &mut self,
        conversation: ConversationId,
        call: CallResident,
        inline: &[u8],
        last: bool,
        now: Instant,
    ) -> Result<(), LinkError> {
        if !conversation.is_other() {
            return Err(LinkError::Broken(format!("{conversation} is no number of a call")));
        }
        if call.method.0 as usize >= self.methods.len() {
            return Err(LinkError::Broken(format!("method {} is not bound", call.method)));
        }
        let arriving = Arriving::Call(call, now);
        let allowed = self.core.limits.arguments;
        if call.payload > allowed {
            let cause = Cause::Limit { limit: Limit::Arguments, allowed };
            self.refuse(conversation, arriving, cause);
            return Ok(());
        }
        self.begin(conversation, call.payload, inline, last, arriving)
    }

    /// A call has come with all of its arguments.
    pub(super) fn called(
        &mut self,
        conversation: ConversationId,
        call: CallResident,
        args: Bytes,
        arrived: Instant,
    ) -> Result<(), LinkError> {
        let CallResident { resident, method, flags, budget_us, .. } = call;
        let deadline = budget_us.and_then(|us| arrived.checked_add(Duration::from_micros(us)));
        let called = Called { conversation, resident, flags, args, arrived, deadline };
        let Some(method) = self.methods.get_mut(method.0 as usize) else {
            return Err(LinkError::Broken(format!("method {method} is not bound")));
        };
        Residents::call(&self.core, &self.session, &mut self.called, method, called)
            .map_err(LinkError::Broken)
    }
}
