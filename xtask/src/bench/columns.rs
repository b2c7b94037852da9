//! Which metric of whom is in which column.
//!
//! Owns: the columns, and the names that each peer has for them. Does not: read lines.
//!
//! A peer that is not among [`PEERS`] is shown by the plain names: `rtt_us_p50`,
//! `pinned_same_rtt_us_p50` (both ends on one processor), `tasks_per_s`,
//! `actor_calls_per_s_pipelined` and `payload_up_MBps_64MiB`; if 64 MiB are too much for it,
//! the largest `payload_up_MBps_…` there is, with its size beside it. Its label is its name, and
//! what isolates a task is what its lines say. A metric that it has not is left out.

/// One column of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    RoundTrip,
    OneCore,
    Tasks,
    Calls,
    Bulk,
}

impl Column {
    pub(super) const ALL: [Self; 5] =
        [Self::RoundTrip, Self::OneCore, Self::Tasks, Self::Calls, Self::Bulk];

    /// What is above it in the table.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::RoundTrip => "round trip us",
            Self::OneCore => "on one core us",
            Self::Tasks => "tasks/s",
            Self::Calls => "state calls/s",
            Self::Bulk => "64 MiB in MB/s",
        }
    }

    /// The unit; figures in another one are not shown.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::RoundTrip | Self::OneCore => "us",
            Self::Tasks | Self::Calls => "1/s",
            Self::Bulk => "MB/s",
        }
    }

    /// dpfw's metric. Its limit is a figure of [`LIMITS`].
    pub(super) fn own(self) -> &'static str {
        match self {
            Self::RoundTrip => "rtt_us_p50",
            Self::OneCore => "rtt_one_core_us_p50",
            Self::Tasks => "fresh_tasks_per_s",
            Self::Calls => "resident_calls_per_s",
            Self::Bulk => "payload_in_mb_per_s",
        }
    }
}

/// What dpfw does to keep tasks apart.
pub(super) const SANDBOX: &str = "a new sandbox for every task";

/// What the benchmark measures beside dpfw: the label, and whose limit it is.
pub(super) const LIMITS: [(&str, &[Column]); 2] = [
    ("bare TCP", &[Column::RoundTrip, Column::OneCore, Column::Bulk]),
    ("loop in process", &[Column::Tasks, Column::Calls]),
];

/// How a peer's lines are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    /// The name in its lines; nothing in that of peers that are not known.
    pub(super) peer: &'static str,
    /// What people know it by.
    pub(super) label: &'static str,
    pub(super) isolation: &'static str,
    /// Whether it does nothing but move bytes.
    pub(super) is_limit: bool,
    /// Before each of its plain names.
    prefix: &'static str,
    /// Its word for tasks per second, and what is said beside them.
    tasks: (&'static str, &'static str),
    /// What is said beside its round trip.
    note: &'static str,
}

/// The plain names.
const PLAIN: Names = Names {
    peer: "",
    label: "",
    isolation: "not said",
    is_limit: false,
    prefix: "",
    tasks: ("tasks_per_s", ""),
    note: "",
};

const fn plain(peer: &'static str, label: &'static str, isolation: &'static str) -> Names {
    Names { peer, label, isolation, ..PLAIN }
}

/// The peers that are known. Two rows of one peer are two ways to use it.
const PEERS: [Names; 12] = [
    Names {
        is_limit: true,
        prefix: "tokio_single_",
        tasks: ("frames_per_s_batched", "batched"),
        ..plain("raw-tcp", "bare TCP", "nothing")
    },
    plain("tarpc", "tarpc", "nothing"),
    plain("tonic", "gRPC (tonic)", "nothing"),
    plain("nats", "NATS", "nothing"),
    plain("erlang-erpc", "Erlang erpc", "a process of its VM"),
    plain("racket-distributed", "Racket places", "nothing"),
    plain("ray", "Ray", "an OS process, reused"),
    plain("dask", "Dask", "nothing"),
    plain("celery-redis", "Celery on Redis", "an OS process, reused"),
    // It has no way to submit tasks one by one; the elements of one list are what it does best.
    Names {
        tasks: ("tasks_per_s", "in one list"),
        ..plain("guile-ssh", "Guile-SSH", "an OS process, reused")
    },
    Names {
        prefix: "local_",
        note: "no network",
        ..plain("lunatic", "Lunatic", "a wasm instance, reused")
    },
    Names {
        prefix: "local_spawn_",
        note: "no network",
        ..plain("lunatic", "Lunatic, spawned", "a new wasm instance")
    },
];

impl Names {
    /// How a peer's lines are read, once for each of its rows.
    pub(super) fn of(peer: &str) -> Vec<Self> {
        let known: Vec<_> = PEERS.into_iter().filter(|names| names.peer == peer).collect();
        if known.is_empty() { vec![PLAIN] } else { known }
    }

    /// The metric of a column among those that there are, and what is said beside its figures.
    pub(super) fn pick(&self, column: Column, metrics: &[&str]) -> Option<(String, String)> {
        let exactly = |name: &str, note: &str| {
            let name = format!("{}{name}", self.prefix);
            metrics.contains(&&*name).then(|| (name, note.to_owned()))
        };
        match column {
            Column::RoundTrip => exactly("rtt_us_p50", self.note),
            Column::OneCore => exactly("pinned_same_rtt_us_p50", ""),
            Column::Tasks => exactly(self.tasks.0, self.tasks.1),
            Column::Calls => exactly("actor_calls_per_s_pipelined", ""),
            Column::Bulk => exactly("payload_up_MBps_64MiB", "").or_else(|| self.largest(metrics)),
        }
    }

    /// The largest argument that was measured, with its size: `8 MiB`, `1 MiB text`.
    fn largest(&self, metrics: &[&str]) -> Option<(String, String)> {
        let before = format!("{}payload_up_MBps_", self.prefix);
        let sizes = metrics.iter().filter_map(|metric| {
            let rest = metric.strip_prefix(&*before)?;
            let (mib, kind) = rest.split_once("MiB")?;
            let note = format!("{mib} MiB {}", kind.trim_start_matches('_'));
            Some((mib.parse::<u64>().ok()?, ((*metric).to_owned(), note.trim_end().to_owned())))
        });
        sizes.max_by_key(|(mib, _)| *mib).map(|(_, picked)| picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(names: &Names, metrics: &[&str]) -> Vec<Option<String>> {
        let pick = |column| names.pick(column, metrics);
        let beside =
            |(metric, note): (String, String)| format!("{metric} {note}").trim().to_owned();
        Column::ALL.into_iter().map(|column| pick(column).map(beside)).collect()
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn each_peer_has_its_own_names() {
        let metrics = [
            "std_rtt_us_p50",
            "tokio_single_rtt_us_p50",
            "tokio_single_pinned_same_rtt_us_p50",
            "tokio_single_frames_per_s_batched",
            "tokio_single_payload_up_MBps_64MiB",
        ];
        let [names] = &Names::of("raw-tcp")[..] else { panic!("one row") };
        assert_eq!(
            picked(names, &metrics),
            [
                some("tokio_single_rtt_us_p50"),
                some("tokio_single_pinned_same_rtt_us_p50"),
                some("tokio_single_frames_per_s_batched batched"),
                None,
                some("tokio_single_payload_up_MBps_64MiB"),
            ]
        );
        let metrics = ["local_rtt_us_p50", "local_spawn_rtt_us_p50", "local_spawn_tasks_per_s"];
        let [reused, new] = &Names::of("lunatic")[..] else { panic!("two rows") };
        assert_eq!(picked(reused, &metrics)[0], some("local_rtt_us_p50 no network"));
        assert_eq!(picked(reused, &metrics)[2], None);
        assert_eq!(picked(new, &metrics)[2], some("local_spawn_tasks_per_s"));
    }

    #[test]
    fn peers_that_are_not_known_have_the_plain_names() {
        let [names] = &Names::of("newcomer")[..] else { panic!("one row") };
        let metrics = [
            "rtt_us_p50",
            "tasks_per_s",
            "tasks_per_s_window256",
            "actor_calls_per_s_pipelined",
            "payload_up_MBps_1MiB_text",
            "payload_up_MBps_16MiB",
        ];
        assert_eq!(
            picked(names, &metrics),
            [
                some("rtt_us_p50"),
                None,
                some("tasks_per_s"),
                some("actor_calls_per_s_pipelined"),
                some("payload_up_MBps_16MiB 16 MiB"),
            ]
        );
        let text = ["payload_up_MBps_1MiB_text", "payload_up_MBps_hugeMiB"];
        assert_eq!(picked(names, &text)[4], some("payload_up_MBps_1MiB_text 1 MiB text"));
    }
}
