//! What a process has: memory, descriptors, tasks.
//!
//! Owns: reading them, and how they grow.

use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Instant;

/// What a process has at one time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Which process.
    pub process: u32,
    /// Bytes that are resident.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// What its tables of tasks hold.
    pub tasks: u64,
}

impl Sample {
    /// That of a process now.
    ///
    /// # Errors
    /// What the system says: it has ended.
    pub(super) fn of(process: u32, tasks: u64) -> Result<Self> {
        let statm = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
        let pages: u64 = statm.split_whitespace().nth(1).context("no such number")?.parse()?;
        let memory = pages * rustix::param::page_size() as u64;
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64;
        Ok(Self { process, memory, descriptors, tasks })
    }
}

/// The master and a slave, again and again.
#[derive(Debug)]
pub(super) struct Series {
    begun: Instant,
    samples: Vec<(f64, Sample, Sample)>,
}

impl Default for Series {
    fn default() -> Self {
        Self { begun: Instant::now(), samples: Vec::new() }
    }
}

/// More samples than a day has seconds are thinned: nobody looks at them one by one.
const MOST: usize = 100_000;

/// How much is owed to starting, and says nothing of how it goes on.
const WARM: f64 = 0.25;

impl Series {
    pub(super) fn push(&mut self, master: Sample, slave: Sample) {
        if self.samples.len() == MOST {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        self.samples.push((self.begun.elapsed().as_secs_f64(), master, slave));
    }

    /// How what each had changed, after it was warm.
    pub(super) fn slopes(&self) -> super::Slopes {
        let from = (self.samples.len() as f64 * WARM) as usize;
        let warm = &self.samples[from.min(self.samples.len())..];
        let of = |value: &dyn Fn(&(f64, Sample, Sample)) -> u64| {
            let points = warm.iter().map(|sample| (sample.0 / 3600.0, value(sample) as f64));
            slope(&points.collect::<Vec<_>>())
        };
        super::Slopes {
            samples: warm.len(),
            master_memory: of(&|(_, master, _)| master.memory),
            master_descriptors: of(&|(_, master, _)| master.descriptors),
            master_tasks: of(&|(_, master, _)| master.tasks),
            slave_memory: of(&|(_, _, slave)| slave.memory),
            slave_descriptors: of(&|(_, _, slave)| slave.descriptors),
            slave_tasks: of(&|(_, _, slave)| slave.tasks),
        }
    }
}

/// The slope of the line that fits best, by least squares. Nothing where there is none.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let square: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (points.len() > 1 && square > 0.0).then(|| both / square)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line_that_fits_best() {
        let line: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) - 7.0)).collect();
        assert_eq!(slope(&line), Some(3.0));
        let scattered = [(0.0, 1.0), (0.0, -1.0), (2.0, 5.0), (2.0, 3.0)];
        assert_eq!(slope(&scattered), Some(2.0));
        assert_eq!([slope(&[]), slope(&line[..1]), slope(&[(1.0, 1.0), (1.0, 2.0)])], [None; 3]);
    }

    #[test]
    fn this_process_has_memory_and_descriptors() -> Result<()> {
        let sample = Sample::of(std::process::id(), 3)?;
        assert!(sample.memory > 1 << 20 && sample.descriptors >= 3 && sample.tasks == 3);
        Ok(())
    }
}
