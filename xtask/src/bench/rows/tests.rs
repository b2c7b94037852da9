//! Runs as they could have been; the figures are invented.

use super::*;

fn repetition(peer: &str, metric: &str, unit: &str, value: f64, noisy: bool) -> String {
    format!(
        r#"{{"peer":"{peer}","metric":"{metric}","unit":"{unit}","value":{value},"noisy":{noisy}}}"#
    )
}

fn summary(metric: &str, unit: &str, median: f64, limit: &str) -> String {
    let (min, max) = (median * 0.9, median * 1.1);
    format!(
        r#"{{"metric":"{metric}","unit":"{unit}","min":{min},"median":{median},"max":{max},"limit":{limit}}}"#
    )
}

/// An earlier run of peers, and one of dpfw after it.
pub(in crate::bench) fn runs() -> Vec<Record> {
    let mut peers = Record::new("peers.jsonl", "2026-01-02");
    for line in [
        repetition("ray", "rtt_us_p50", "us", 1977.67, true),
        repetition("ray", "payload_up_MBps_8MiB", "MB/s", 4.84, false),
        repetition("tonic", "rtt_us_p50", "us", 117.3, false),
        repetition("tonic", "rtt_us_p50", "us", 118.2, false),
        repetition("tonic", "rtt_us_p50", "us", 119.65, false),
        repetition("tonic", "tasks_per_s", "1/s", 94_809.0, false),
        repetition("tonic", "tasks_per_s", "1/s", 89_596.0, false),
        repetition("raw-tcp", "tokio_single_rtt_us_p50", "us", 87.0, false),
        repetition("raw-tcp", "tokio_single_frames_per_s_batched", "1/s", 2_930_676.0, false),
        r#"{"peer":"a<b&c","metric":"rtt_us_p50","unit":"us","value":300,"version":"1.2"}"#.into(),
        r#"{"peer":"dask","failed":"exit code 3"}"#.into(),
        r#"{"peer":"tonic","metric":"rtt_us_p50","unit":"us","value":36,"mode":"awake"}"#.into(),
        "warming up".into(),
    ] {
        peers.add(&line);
    }
    let mut own = Record::new("this run", "2026-01-03");
    for line in [
        r#"{"run":"2026-01-03T04:05:06Z","machine":"2 cores","dpfw":"0.1.0","rustc":"1.97.0"}"#
            .into(),
        summary("rtt_us_p50", "us", 90.0, "84.0"),
        summary("fresh_tasks_per_s", "1/s", 150_000.0, "215000.0"),
        summary("resident_calls_per_s", "1/s", 450_000.0, "null"),
        summary("sandbox_scaling", "x", 1.9, "null"),
    ] {
        own.add(&line);
    }
    vec![peers, own]
}

fn labels(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| &*row.label).collect()
}

fn median(row: &Row, column: Column) -> Option<f64> {
    row.cells[column as usize].as_ref().map(|figure| figure.median)
}

#[test]
fn limits_come_first_then_dpfw_then_peers_by_their_round_trip() {
    let (rows, _) = rows(&runs());
    assert_eq!(
        labels(&rows),
        ["bare TCP", "loop in process", "bare TCP", "dpfw", "gRPC (tonic)", "a<b&c", "Ray", "Dask"]
    );
    assert_eq!(median(&rows[0], Column::RoundTrip), Some(84.0));
    assert_eq!(median(&rows[1], Column::Tasks), Some(215_000.0));
    assert_eq!(median(&rows[1], Column::Calls), None);
    assert_eq!(median(&rows[3], Column::Calls), Some(450_000.0));
}

#[test]
fn medians_have_their_spread_and_tell_of_noise() {
    let (rows, _) = rows(&runs());
    let Some(figure) = &rows[4].cells[0] else { panic!("tonic has a round trip") };
    assert_eq!((figure.min, figure.median, figure.max), (117.3, 118.2, 119.65));
    assert_eq!(median(&rows[4], Column::Tasks), Some(92_202.5));
    let noisy = |row: &Row| row.cells.each_ref().map(|it| it.as_ref().map(|it| it.is_noisy));
    assert_eq!(noisy(&rows[6]), [Some(true), None, None, None, Some(false)]);
}

#[test]
fn what_is_not_shown_is_told() {
    let (rows, remarks) = rows(&runs());
    assert_eq!(rows[7].failed.as_deref(), Some("exit code 3"));
    assert_eq!(
        remarks,
        [
            "peers.jsonl: lines that are no figures: 1, the first: warming up",
            "peers.jsonl: lines with a \"mode\" of their own, which are not compared: 1",
        ]
    );
    let (_, remarks) = super::rows(&runs()[..1]);
    assert_eq!(remarks[0], "dpfw was not measured in any of these runs");
}

#[test]
fn of_two_runs_with_the_same_peer_the_last_is_shown() {
    let mut runs = runs();
    runs[1].add(&repetition("tonic", "rtt_us_p50", "us", 500.0, false));
    let (rows, remarks) = rows(&runs);
    let Some(tonic) = rows.iter().find(|row| row.label == "gRPC (tonic)") else { panic!("gone") };
    assert_eq!((tonic.run, median(tonic, Column::RoundTrip)), (1, Some(500.0)));
    assert_eq!(median(tonic, Column::Tasks), None);
    assert_eq!(remarks[0], "tonic in peers.jsonl is not shown: this run, named after it, has it");
}

#[test]
fn figures_in_another_unit_are_not_shown() {
    let mut run = Record::new("x", "2026-01-02");
    run.add(&repetition("nats", "rtt_us_p50", "ms", 0.2, false));
    let (rows, _) = rows(&[run]);
    assert_eq!(rows[0].failed.as_deref(), Some("none of its metrics is known here"));
}
