//! Moving a resident to another slave.
//!
//! Owns: the order in which both are told. Does not: hold calls back; they wait in its mailbox,
//! at the one slave or at the other. Invariant: two slaves never take calls of it at once, which
//! is why one that may be at either is at none, and what it saved stays where it was to be.

use super::Resident;
use super::find::find_at;
use super::follow::Target;
use super::requests::{ask, ask_with_payload, lost};
use super::search::find_at_all;
use super::spawn::spawn_at;
use super::window::{Place, Window};
use crate::error::TaskError;
use crate::home::Back;
use crate::slave::{Linked, Slave};
use dpfw_dispatch::Placement;
use dpfw_protocol::call::Task;
use dpfw_protocol::error::Cause;
use dpfw_protocol::message::{Extras, ResidentOp, SpawnAs, There};
use dpfw_protocol::module::Module;
use dpfw_protocol::resident::{End, Stage};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a slave is asked whether it has heard that a resident has moved, and how long is waited
/// between: it knows soon that the link is lost over which it was told.
const LOOKS: (u32, Duration) = (100, Duration::from_millis(20));

/// What is known of a resident where it was.
enum Told {
    /// It is not there any more.
    Gone,
    /// It is there, or has ended there otherwise.
    Stays(Cause),
    Unknown,
}

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
    /// by somebody else, or begun again after a failure. [`Cause::ResidentLost`] if a link is lost
    /// in the middle of it. Where that is the link to the slave that had it, in the very moment in
    /// which it is told that the resident has moved, the move goes on if it has heard, once it is
    /// linked again; if it does not come back, what the resident saved is asleep at the other slave.
    /// That gives way to the resident where it is alive at the first, and is forgotten by whoever sees
    /// both.
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
        let moved = match placed.await {
            Ok((linked, spawned)) => self.hand(&from, Place::of(linked, &spawned.resident)).await,
            Err(cause) => {
                // If that link is lost it goes on by itself.
                let _ = ask(&from.linked, ResidentOp::TakeBack { resident }).await;
                Err(cause)
            }
        };
        if let Err(Cause::SlaveLost { .. } | Cause::ResidentLost { .. }) = moved {
            self.clear(&from.linked, &to).await;
        }
        moved
    }

    /// Once both slaves are linked, if they soon are, what a move that broke off may have left at
    /// the one is forgotten, where the resident lives on at the other.
    async fn clear(&self, from: &Linked, to: &Linked) {
        let is_up = |slaves: &[Arc<Linked>], slave: &Linked| {
            slaves.iter().any(|it| it.hello.peer == slave.hello.peer && it.is_up())
        };
        let both =
            self.home.until(|slaves| (is_up(slaves, from) && is_up(slaves, to)).then_some(()));
        let (looks, pause) = LOOKS;
        if let Ok(Some(())) = tokio::time::timeout(looks * pause, both).await {
            // What is wrong is told to whoever looks next.
            let _ = find_at_all(&self.home, &self.key).await;
        }
    }

    /// The resident is held at both: it ends at the one, and is let go at the other.
    async fn hand(self: &Arc<Self>, from: &Place, to: Place) -> Result<(), Cause> {
        let slave = to.linked.hello.peer.clone();
        let moved = ResidentOp::Moved { resident: from.resident, to: slave };
        let told = match ask_with_payload(&from.linked, moved).await {
            Ok((reply, _)) => self.told(reply.end.as_ref()),
            Err(Cause::SlaveLost { .. }) => self.look_back(from).await,
            Err(Cause::Shutdown) => Told::Unknown,
            Err(cause) => Told::Stays(cause),
        };
        let resident = to.resident;
        match told {
            Told::Gone => {}
            Told::Stays(cause) => {
                let _ = ask(&to.linked, ResidentOp::Stop { resident }).await;
                // It may be held there yet.
                let resident = from.resident;
                let _ = ask(&from.linked, ResidentOp::TakeBack { resident }).await;
                return Err(cause);
            }
            Told::Unknown => {
                // Nobody calls it there, and what it saved stays. So it does if that link is lost.
                let _ = ask(&to.linked, ResidentOp::TakeBack { resident }).await;
                return Err(self.adrift());
            }
        }
        self.leaves_for(Target::Known(Box::new(to.clone())));
        match self.ask(&to, ResidentOp::LetGo { resident }).await?.0.end {
            Some(_) => Err(self.over()),
            None => Ok(()),
        }
    }

    /// Whether the slave has heard that the resident has moved, whose link was lost before it said
    /// so: looks for it over the next one. A link that ends says nothing of the process behind it.
    async fn look_back(&self, from: &Place) -> Told {
        let resident = from.resident;
        for _ in 0..LOOKS.0 {
            let linked = match self.back_at(&Target::of(from), from.linked.id, None).await {
                Back::Again(linked) => linked,
                Back::Gone => return Told::Gone,
                Back::Never => return Told::Unknown,
            };
            match find_at(&linked, &self.key).await {
                // The slave may not know yet that the old link is lost.
                Ok(info) if info.resident == resident && info.stage == Stage::Moving => {}
                Ok(info) if info.resident == resident => return Told::Stays(self.adrift()),
                Err(Cause::SlaveLost { .. }) => {}
                // It has ended, and this says how.
                _ => match ask(&linked, ResidentOp::Await { resident }).await {
                    Ok(reply) => return self.told(reply.end.as_ref()),
                    Err(Cause::SlaveLost { .. }) => {}
                    Err(_) => return Told::Unknown,
                },
            }
            self.home.pause(LOOKS.1).await;
        }
        Told::Unknown
    }

    /// What is to be made of how it ended where it was; it may have been stopped meanwhile.
    fn told(&self, end: Option<&End>) -> Told {
        match end {
            None | Some(End::Moved(_)) => Told::Gone,
            Some(_) => Told::Stays(self.over()),
        }
    }

    fn adrift(&self) -> Cause {
        lost(&self.key, Cause::SlaveLost { may_have_run: true })
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
