//! Handing a task to the driver.
//!
//! Owns: what is refused before the driver hears of it. Does not: wait; a handle is given at
//! once.

use crate::error::TaskError;
use crate::handle::Raw;
use crate::image::{self, Plan};
use crate::inbox::{Inbox, Room, Submission};
use crate::program::ports::Ports;
use crate::ticket::Ticket;
use dpfw_dispatch::{Placement, TaskId};
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{Extras, TaskFlags};
use dpfw_protocol::payload::Payload;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How a task is to be run.
pub(crate) struct Terms {
    pub(crate) flags: TaskFlags,
    /// In its batch; 1 if it is none.
    pub(crate) calls: u32,
    pub(crate) timeout: Option<Duration>,
    pub(crate) extras: Option<Box<Extras>>,
    pub(crate) placement: Placement,
    /// Of a program.
    pub(crate) ports: Option<Arc<Ports>>,
    pub(crate) image: Option<Arc<Plan>>,
    /// Why it cannot be dispatched.
    pub(crate) refused: Option<Cause>,
}

/// Submits a task if there is room for it.
pub(crate) fn submit<T>(
    inbox: &Arc<Inbox>,
    task: &Task<T>,
    args: Result<Payload, String>,
    terms: Terms,
    room: Option<Room>,
) -> Raw {
    let ticket = Arc::new(Ticket::new());
    let ports = terms.ports.clone();
    let refuse = |cause| {
        let name = ports.as_ref().map_or(task.name(), |ports| &*ports.name);
        let error = TaskError::new(name, None, 0, cause);
        if let Some(ports) = &ports {
            ports.end(Some(&error));
        }
        ticket.complete(Err(error), None);
        Raw::new(Arc::clone(&ticket), None, inbox)
    };
    if let Some(cause) = terms.refused {
        return refuse(cause);
    }
    let args = match args {
        Ok(args) => args,
        Err(message) => return refuse(Cause::BadArguments { message }),
    };
    if let Err(cause) = image::check(task, terms.image.as_deref()) {
        return refuse(cause);
    }
    let Some(room) = room else {
        let what = format!("{} tasks are queued in the master", inbox.most());
        return refuse(Cause::Busy { what });
    };
    let Terms { flags, calls, timeout, extras, placement, ports, image, .. } = terms;
    let submission = Submission {
        room,
        ticket: Arc::clone(&ticket),
        module: task.module().clone(),
        name: task.shared_name(),
        expects: task.expects().cloned(),
        flags,
        args,
        calls,
        deadline: deadline(timeout),
        extras: extras.filter(|extras| !extras.is_nothing()),
        placement,
        ports,
        image,
    };
    match inbox.submit(Box::new(submission)) {
        Ok(id) => Raw::new(ticket, Some::<TaskId>(id), inbox),
        Err(_) => refuse(Cause::Shutdown),
    }
}

/// When a task has to have ended that is dispatched now.
pub(crate) fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(timeout?)
}
