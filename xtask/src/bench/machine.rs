//! Where and when figures are measured.
//!
//! Owns: what is said of this machine. Invariant: nothing of it is needed; what cannot be told
//! is said to be unknown.

use super::line::Head;
use std::path::Path;
use std::process::Command;

/// What this run's figures depend on.
pub(super) fn head() -> Head {
    Head { date: now(), machine: machine(), dpfw: dpfw(), rustc: rustc() }
}

/// The cores, the processor, the kernel and the memory.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    describe(
        cores,
        &read("/proc/cpuinfo"),
        &read("/proc/sys/kernel/osrelease"),
        &read("/proc/meminfo"),
    )
}

fn describe(cores: usize, cpuinfo: &str, kernel: &str, meminfo: &str) -> String {
    let processor = field(cpuinfo, "model name").unwrap_or("an unknown processor");
    let kernel = Some(kernel.trim()).filter(|it| !it.is_empty()).unwrap_or("unknown");
    let kib = field(meminfo, "MemTotal").and_then(|it| it.strip_suffix(" kB")?.parse().ok());
    let memory = kib.map_or_else(
        || "unknown memory".to_owned(),
        |kib: f64| format!("{:.0} GiB", kib / f64::from(1 << 20)),
    );
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    format!("{cores}, {processor}, Linux {kernel}, {memory}")
}

/// The first value of a field in a file of `/proc`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim())
}

/// The version, and the commit, `+` if there is more than that.
fn dpfw() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match told(Command::new("git").args(["describe", "--always", "--dirty=+", "--exclude=*"])) {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

fn rustc() -> String {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = told(Command::new(program).arg("--version"));
    let number = version.as_deref().and_then(|it| it.split(' ').nth(1));
    number.unwrap_or("unknown").to_owned()
}

/// The time, universal: `2026-11-20T10:00:00Z`.
pub(super) fn now() -> String {
    told(Command::new("date").args(["-u", "+%FT%TZ"])).unwrap_or_else(|| "unknown".into())
}

/// The day on which a file was last written.
pub(super) fn date_of(path: &Path) -> String {
    told(Command::new("date").args(["-u", "+%F", "-r"]).arg(path))
        .unwrap_or_else(|| "unknown".into())
}

/// The columns of the terminal, if somebody reads at one.
pub(super) fn columns() -> Option<usize> {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() {
        return None;
    }
    // ROWS COLUMNS
    told(Command::new("stty").arg("size"))?.split(' ').nth(1)?.parse().ok()
}

/// What a program says, if it is there and has something to say.
fn told(command: &mut Command) -> Option<String> {
    let output = command.stdin(std::process::Stdio::inherit()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_by_what_is_known_of_it() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: another\n";
        let told = describe(2, cpuinfo, "6.1.0\n", "MemTotal:       24689764 kB\n");
        assert_eq!(told, "2 cores, Some CPU @ 2 GHz, Linux 6.1.0, 24 GiB");
        let told = describe(1, "", "", "MemTotal: much");
        assert_eq!(told, "1 core, an unknown processor, Linux unknown, unknown memory");
    }
}
