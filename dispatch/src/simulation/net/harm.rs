//! What is done to the links of a simulated world.

use super::{End, LinkId, Net, Pair};
use crate::simulation::future::Future;
use crate::simulation::random::Random;

impl Net {
    /// Blocks what an end says, or slows it.
    pub(crate) fn block(&mut self, pair: Pair, end: End, until: u64) {
        self.paths.entry((pair, end)).or_default().blocked_until = until;
    }

    pub(crate) fn slow(&mut self, pair: Pair, end: End, until: u64) {
        self.paths.entry((pair, end)).or_default().slow_until = until;
    }

    /// An end is gone at once, and perhaps some of what it said last.
    pub(crate) fn tear(
        &mut self,
        link: LinkId,
        end: End,
        now: u64,
        random: &mut Random,
        future: &mut Future,
    ) {
        self.lose_some(link, end, random);
        self.close(link, end, None, now, random, future);
    }

    /// The links between two are reset: both ends hear of it, and perhaps not all that was
    /// said before.
    pub(crate) fn cut(&mut self, pair: Pair, now: u64, random: &mut Random, future: &mut Future) {
        let its = self.links.iter().filter(|(_, link)| link.pair == pair);
        let its: Vec<_> = its.map(|(link, _)| *link).collect();
        for (link, end) in its.iter().flat_map(|link| [(*link, End::Master), (*link, End::Slave)]) {
            self.lose_some(link, end, random);
            if self.pipe(link, end).is_some_and(|pipe| std::mem::take(&mut pipe.open)) {
                self.launch(link, end, None, now, future);
            }
        }
    }

    /// Of what is under way the last may not arrive, from any byte on.
    fn lose_some(&mut self, link: LinkId, end: End, random: &mut Random) {
        let lossy = random.one_in(2);
        let Some(pipe) = self.pipe(link, end) else { return };
        if lossy && !pipe.flight.is_empty() && pipe.open {
            let keep = random.within(0..pipe.flight.len() as u64) as usize;
            // The pieces behind it arrive as nothing.
            pipe.flight.truncate(keep + 1);
            if let Some(Some(bytes)) = pipe.flight.back_mut() {
                bytes.truncate(random.within(0..bytes.len() as u64) as usize);
            }
        }
    }
}
