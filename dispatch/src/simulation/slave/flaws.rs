//! What a simulated slave does that no slave should: it forgets, and it lies.

use super::Slave;
use crate::simulation::net::{End, LinkId};
use crate::simulation::random::Random;
use crate::simulation::world::Shared;
use dpfw_protocol::error::Cause;
use dpfw_protocol::ids::{AttemptId, ConversationId};
use dpfw_protocol::message::{Done, Failed, Reserved, Returned, Started, Status, Timing, Waiting};

/// Ids of attempts, most of which it was sent.
fn some(random: &mut Random, last: u64) -> Vec<AttemptId> {
    (0..random.within(0..4)).map(|_| AttemptId(random.within(1..last + 3))).collect()
}

impl Slave {
    /// Whether it loses within itself what it was to say or to do.
    pub(crate) fn forgets(&self, w: &mut Shared) -> bool {
        let forgets = w.plan.faults.forgets;
        forgets > 0 && w.now < w.end_of_faults() && w.random.one_in(forgets)
    }

    /// Says nonsense, in well-formed messages for the most part.
    pub(crate) fn lie(&mut self, w: &mut Shared, link: LinkId) {
        let last = self.sessions.get(&link).map_or(0, |session| session.last.0);
        let attempts = some(&mut w.random, last);
        let (one, to) = (AttemptId(w.random.within(0..last + 3)), ConversationId::LINK);
        let (timing, granted) = (Timing::default(), w.random.one_in(2));
        match w.random.within(0..10) {
            0 => w.net.say(
                link,
                End::Slave,
                one.conversation(),
                &Done { timing, payload: 0, kept: None },
            ),
            1 => {
                let causes = [Cause::Draining, Cause::Busy { what: String::new() }];
                let failure = causes[usize::from(granted)].clone().into();
                w.net.say(link, End::Slave, one.conversation(), &Failed { timing, failure });
            }
            2 => w.net.say(link, End::Slave, to, &Started { attempts }),
            3 => w.net.say(link, End::Slave, to, &Waiting { attempts }),
            4 => w.net.say(link, End::Slave, to, &Returned { attempts }),
            5 => {
                let conversation = ConversationId((1 << 40) + w.random.within(0..8));
                w.net.say(link, End::Slave, conversation, &Reserved { granted });
            }
            6 | 7 => {
                let slots = w.random.within(0..3) as u32 * 1000;
                let upto = AttemptId(if granted { u64::MAX } else { last });
                let (running, waiting, sandboxes, queued, taken) = (0, 0, 0, 0, granted);
                let others = some(&mut w.random, last).into_iter().collect();
                let attempts = attempts.into_iter().collect();
                let status = Status {
                    slots,
                    running,
                    waiting,
                    sandboxes,
                    queued,
                    taken,
                    upto,
                    attempts,
                    others,
                };
                w.net.say(link, End::Slave, to, &status);
            }
            8 => {
                let noise: Vec<_> = (0..40).map(|_| w.random.next() as u8).collect();
                if let Some(queue) = w.net.queue(link, End::Slave) {
                    queue.raw(&noise);
                }
            }
            _ => {}
        }
    }
}
