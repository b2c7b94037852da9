//! Moving a resident to another slave.
//!
//! Owns: the order in which both are told. Does not: hold calls back; they wait in its mailbox,
//! at the one slave or at the other. Invariant: two slaves never take calls of it at once, which
//! is why one that may be at either is at none, and is lost.

use super::Resident;
use super::follow::Target;
use super::requests::{ask, ask_with_payload, lost};
use super::spawn::spawn_at;
use super::window::{Place, Window};
use crate::error::TaskError;
use crate::slave::{Linked, Slave};
use dpfw_dispatch::{Loss, Placement};
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{Extras, ResidentOp, SpawnAs, There};
use dpfw_protocol::module::Module;
use dpfw_protocol::resident::End;
use std::sync::Arc;
use tokio::sync::oneshot;

impl<R> Resident<R> {
    /// Moves it to another slave, with its state; it has to offer `save` and `load`. Its present
    /// call ends first; those that wait, and those that come meanwhile, of all masters, are
    /// answered in their order at the other slave.
    ///
    /// It goes on though this is dropped before it is done. If it cannot be done the resident
    /// stays where it is.
    ///
    /// # Errors
    /// [`Cause::Failed`] or what else its `save` ended with; what its `load` ended with at the
    /// other slave; [`Cause::KeyTaken`] if the key is taken there; [`Cause::Busy`] while it is moved
    /// by somebody else, or begun again after a failure. [`Cause::ResidentLost`] if the
    /// link to the slave that had it is lost in the very moment in which it is told that the
    /// resident has moved: it cannot be known whether it has heard.
    pub async fn move_to(&self, to: &Slave) -> Result<(), TaskError> {
        let (told, moved) = oneshot::channel();
        let (window, to) = (Arc::clone(&self.window), Arc::clone(&to.0));
        let home = Arc::clone(&window.home);
        home.spawn(async move {
            // Nobody may wait for it any more.
            let _ = told.send(window.move_to(to).await);
        });
        // It ends without a word only with the master.
        let moved = moved.await.unwrap_or(Err(Cause::Shutdown));
        moved.map_err(|cause| self.error(cause))
    }
}

impl Window {
    async fn move_to(self: &Arc<Self>, to: Arc<Linked>) -> Result<(), Cause> {
        self.settled().await;
        let from = self.place();
        if from.linked.id == to.id {
            return Ok(());
        }
        let resident = from.resident;
        let (reply, payload) = self.ask(&from, ResidentOp::HandOver { resident }).await?;
        if reply.end.is_some() {
            return Err(self.over());
        }
        let placed = async {
            let malformed =
                || Cause::BadResult { message: "the slave does not say what it hands over".into() };
            let spawn = *reply.spawn.ok_or_else(malformed)?;
            let constructor = reply.constructor.ok_or_else(malformed)?;
            let spawn = SpawnAs { there: There::Refuse, held: true, ..spawn };
            let task = Task::<()>::new(self.module(&from), constructor);
            let (placement, extras) = (Placement::On(to.id), Extras::default());
            let args = Ok(payload.into());
            let spawned = spawn_at(&self.home, &task, args, placement, (spawn, extras), None).await;
            spawned.map_err(|error| error.cause().clone())
        };
        let (linked, spawned) = match placed.await {
            Ok(spawned) => spawned,
            Err(cause) => {
                // If that link is lost it goes on by itself.
                let _ = ask(&from.linked, ResidentOp::TakeBack { resident }).await;
                return Err(cause);
            }
        };
        let place = Place::of(linked, &spawned.resident);
        self.hand(&from, place).await
    }

    /// The resident is held at both: it ends at the one, and is let go at the other.
    async fn hand(self: &Arc<Self>, from: &Place, to: Place) -> Result<(), Cause> {
        let slave = to.linked.hello.peer.clone();
        let moved = ResidentOp::Moved { resident: from.resident, to: slave };
        let told = ask_with_payload(&from.linked, moved).await;
        let is_gone = match &told {
            // It may have been stopped meanwhile.
            Ok((reply, _)) => matches!(reply.end, None | Some(End::Moved(_))),
            // With its process it is gone there, whatever it has heard.
            Err(Cause::SlaveLost { .. }) => {
                from.linked.ending(|ending| ending.gone.is_some()).await.gone == Some(Loss::Died)
            }
            Err(_) => false,
        };
        let resident = to.resident;
        if !is_gone {
            // If that link is lost it ends by itself.
            let _ = ask(&to.linked, ResidentOp::Stop { resident }).await;
            return Err(told.map_or_else(|cause| lost(&self.key, cause), |_| self.over()));
        }
        self.leaves_for(Target::Known(Box::new(to.clone())));
        match self.ask(&to, ResidentOp::LetGo { resident }).await?.0.end {
            Some(_) => Err(self.over()),
            None => Ok(()),
        }
    }

    fn over(&self) -> Cause {
        let why = "before it was moved".into();
        Cause::ResidentEnded { key: self.key.to_string(), why }
    }

    /// The module that the resident is of, with its bytes if this program has them.
    fn module(&self, at: &Place) -> Module {
        let known = self.module.get().filter(|module| module.hash() == at.module);
        known.cloned().unwrap_or_else(|| Module::known(at.module))
    }
}
