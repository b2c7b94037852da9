//! What encryption costs, beside plain links in the same run.

use crate::measure::{check, pipelined};
use crate::process::{Process, own_cpu};
use crate::report::print;
use crate::tcp::BULK;
use anyhow::{Context, Result, ensure};
use dpfw::security::{CertRole, Security, Tls, TlsFiles};
use dpfw::{Master, Slave};
use dpfw_bench_tasks::{fresh_add, give, take};
use dpfw_certs::{Authority, Founding, Request};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// Links of which each shakes hands anew.
const HANDSHAKES: usize = 100;

/// Links that are idle.
const LINKS: usize = 1_000;

/// An authority of the benchmark's own.
struct Place {
    /// Removed when it is dropped.
    _home: TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let authority = Authority::create(&home.path().join("certs"), &Founding::default())?;
        Ok(Self { _home: home, authority })
    }

    fn issue(&self, role: CertRole, name: &str) -> Result<PathBuf> {
        Ok(self.authority.issue(&Request::new(role, name))?.file)
    }

    fn security(&self, role: CertRole, name: &str) -> Result<Security> {
        let identity = self.issue(role, name)?;
        let (authority, revoked) = (self.authority.certificate(), self.authority.revocations());
        Ok(Security::tls(Tls::open(TlsFiles { identity, authority, revoked: Some(revoked) })?))
    }

    fn slave(&self, cache: &Path, name: &str, more: &[&str]) -> Result<Process> {
        let identity = self.issue(CertRole::Slave, name)?;
        let files =
            [&identity, &self.authority.certificate()].map(|file| file.display().to_string());
        Process::slave_with(
            cache,
            &[&["--identity", &files[0], "--authority", &files[1]], more].concat(),
        )
    }
}

/// Two slaves, and a master of each: one over plain TCP, one over TLS.
struct Both {
    _slaves: [Process; 2],
    plain: Master,
    encrypted: Master,
}

impl Both {
    async fn start(place: &Place, cache: &Path) -> Result<Self> {
        let slaves = [Process::slave(cache)?, place.slave(cache, "slave-1", &[])?];
        let plain = Master::builder().slave(&slaves[0].address).build().await?;
        let security = place.security(CertRole::Master, "master-1")?;
        let encrypted =
            Master::builder().security(security).slave(&slaves[1].address).build().await?;
        Ok(Self { _slaves: slaves, plain, encrypted })
    }
}

/// Tasks and payloads over TLS by those over plain TCP, in turn.
pub(crate) async fn ratios(cache: &Path, rounds: usize) -> Result<()> {
    let place = Place::new()?;
    let both = Both::start(&place, cache).await?;
    let mut tasks = Vec::new();
    for round in 0..=rounds {
        let plain = pipelined(&both.plain).await?;
        let encrypted = pipelined(&both.encrypted).await?;
        if round > 0 {
            tasks.push(encrypted / plain);
        }
    }
    print("tls_fresh_tasks_ratio", "x", &tasks, &[]);
    let (mut there, mut back, mut payloads) = (vec![], vec![], vec![]);
    for round in 0..=rounds {
        let plain = [send(&both.plain).await?, receive(&both.plain).await?];
        let encrypted = [send(&both.encrypted).await?, receive(&both.encrypted).await?];
        if round > 0 {
            there.push(plain[0] / encrypted[0]);
            back.push(plain[1] / encrypted[1]);
            payloads.push((plain[0] + plain[1]) / (encrypted[0] + encrypted[1]));
        }
    }
    print("tls_payload_in_ratio", "x", &there, &[]);
    print("tls_payload_out_ratio", "x", &back, &[]);
    print("tls_payload_ratio", "x", &payloads, &[]);
    Ok(())
}

/// Seconds that 64 MiB of arguments take.
async fn send(master: &Master) -> Result<f64> {
    let bytes: dpfw_bench_tasks::Bytes = vec![5u8; BULK].into();
    let start = Instant::now();
    let len = master.dispatch(take::call(bytes)).await?;
    ensure!(len == BULK as u64, "{len} bytes arrived");
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds that 64 MiB of a result take.
async fn receive(master: &Master) -> Result<f64> {
    let start = Instant::now();
    let bytes = master.dispatch(give::call(BULK as u64)).await?;
    ensure!(bytes.len() == BULK, "{} bytes came back", bytes.len());
    Ok(start.elapsed().as_secs_f64())
}

/// Processor time of both ends for a link that is dialled, shakes hands, and ends; beside that
/// with the token.
pub(crate) async fn handshakes(rounds: usize) -> Result<()> {
    let place = Place::new()?;
    let tls = (place.security(CertRole::Slave, "s")?, place.security(CertRole::Master, "m")?);
    let plain = (Security::default(), Security::default());
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        for ((slave, master), figures) in [(&plain, &mut limits), (&tls, &mut values)] {
            let slave = Slave::builder().slots(1).security(slave.clone()).build()?;
            let address = slave.listen("127.0.0.1:0").await?.to_string();
            let before = own_cpu()?;
            for _ in 0..HANDSHAKES {
                let linked =
                    Master::builder().security(master.clone()).slave(&address).build().await?;
                linked.shutdown().await;
            }
            if round > 0 {
                figures.push((own_cpu()? - before).as_secs_f64() * 1e3 / HANDSHAKES as f64);
            }
        }
    }
    print("tls_handshake_cpu_ms", "ms", &values, &limits);
    Ok(())
}

/// Memory of a slave for each of a thousand links on which nothing happens; beside plain ones.
pub(crate) async fn idle(cache: &Path, rounds: usize) -> Result<()> {
    let place = Place::new()?;
    let (mut values, mut limits) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // A master that is alone may have eight ninths of them.
        let links = (LINKS * 9 / 8 + 10).to_string();
        let more = ["--links", &links];
        let name = format!("slave-{round}");
        let tls = place.slave(cache, &name, &more)?;
        let plain = Process::slave_with(cache, &more)?;
        let security = place.security(CertRole::Master, &format!("master-{round}"))?;
        limits.push(linked(&plain, &Security::default()).await?);
        values.push(linked(&tls, &security).await?);
    }
    print("tls_idle_link_kib", "KiB", &values, &limits);
    Ok(())
}

/// What each of the links takes at the slave, in KiB.
async fn linked(slave: &Process, security: &Security) -> Result<f64> {
    let link = || Master::builder().security(security.clone()).slave(&slave.address).build();
    // What the first one needs is needed once.
    let mut masters = vec![link().await?];
    check(masters[0].dispatch(fresh_add::call(2, 3)).await?, 5)?;
    let before = slave.own_memory_mib()?;
    for _ in 0..LINKS {
        masters.push(link().await?);
    }
    let all = masters[0].slaves().pop().context("it is linked")?.describe().await?;
    ensure!(all.links as usize > LINKS, "{} links of {LINKS}", all.links);
    let after = slave.own_memory_mib()?;
    for master in masters {
        master.shutdown().await;
    }
    Ok((after - before) * 1024.0 / LINKS as f64)
}
