//! CPU seconds that the collector spends on a million events, without the event log and without ClickHouse: decode, roll
//! up, sample and encode, everything on, single clicks and spans too; what spans add to it; and what it adds when one event in
//! 10,000 is corrupted: range by range in turns with the same events without. `cargo run --release -p collector --example range_cost`; a number
//! behind `--` is how many events instead, for tools that make it slow (`valgrind --tool=callgrind`).
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::sync::Arc;

use collector::Policy;
use collector::cost::Setup;
use event_log::{ContentType, Record, Schema};
use wide_event::{Cache, Event, Host, Network, Outcome, SpanId, Text, Timestamp, TraceId, Visitor, codec};

const EVENTS: u64 = 1_000_000;
/// As the collector has by default.
const RANGE_EVENTS: u64 = 200_000;
/// As the target has it: throughput stays within 10 % of clean then.
const CORRUPTED_ONE_IN: u64 = 10_000;
/// Ticks of 10 ms are too coarse for one.
const ROUNDS: u32 = 4;
const NOW_US: i64 = 1_763_764_620_000_000;

/// 98 of 100 are successes, as in the measurements that the target of one second comes from.
fn event(seq: u64) -> Event<'static> {
    let random = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (status, outcome) = match seq % 100 {
        0 => (500, Outcome::ServerError),
        1 => (404, Outcome::ClientError),
        _ => (302, Outcome::Ok),
    };
    let pick = |names: &[&'static str], bits: u32| names[(random >> bits) as usize % names.len()];
    Event {
        ts: Timestamp(NOW_US + i64::try_from(seq % 1_000_000).unwrap()),
        duration_us: 60 + random % 900,
        request_id: Text::new(format!("019aa3a0-0000-7000-8000-{random:012x}")),
        trace_id: TraceId(u128::from(random) << 64 | u128::from(seq)),
        span_id: SpanId(random | 1),
        service: Text::new("shortener"),
        version: Text::new("0.1.0"),
        instance: Text::new("web-1"),
        boot_id: Text::new("019aa3a0-0000-7000-8000-000000000000"),
        seq: seq + 1,
        environment: Text::new("production"),
        method: Text::new("GET"),
        route: Text::new("/{code}"),
        scheme: Text::new("https"),
        host: Host::parse("hop.example").unwrap(),
        status,
        outcome,
        code: Text::new(format!("c{:06x}", random % 5000)),
        link_id: random % 5000,
        link_version: 1,
        target_host: Host::parse("www.example.org").unwrap(),
        click: outcome == Outcome::Ok,
        cache: Cache::L1,
        client_net: Network::V4([203, 0, (random >> 9) as u8]),
        visitor: Visitor(random >> 44),
        browser: Text::new(pick(&["Chrome", "Firefox", "Safari", "Edge"], 20)),
        os: Text::new(pick(&["Windows", "Linux", "macOS", "Android", "iOS"], 30)),
        device: Text::new(pick(&["desktop", "mobile"], 40)),
        referrer_host: Host::parse(pick(&["", "news.example", "search.example"], 50)).unwrap(),
        bytes_out: 180,
        ..Event::default()
    }
}

/// The line of an event, corrupted in one of eight ways, as the test `corruption` has them: six that can't be read, and
/// two of the wrong time.
fn corrupt(event: &Event<'_>, way: u64) -> Vec<u8> {
    let encode = |event: &Event<'_>| {
        let mut line = Vec::new();
        codec::encode(event, &mut line);
        line.pop();
        line
    };
    let line = encode(event);
    let replaced = |from: &str, to: &[u8]| {
        let text = std::str::from_utf8(&line).unwrap();
        let (before, after) = text.split_once(from).unwrap();
        [before.as_bytes(), to, after.as_bytes()].concat()
    };
    let at = |us: i64| encode(&Event { ts: Timestamp(event.ts.0 + us), ..event.clone() });
    let mut line = match way % 8 {
        0 => line[..20].to_vec(),
        1 => [b"\x00\x01", &line[..]].concat(),
        2 => replaced("/{code}", b"\x7f\xff"),
        3 => b"{}".to_vec(),
        4 => replaced("\"status\":302", b"\"status\":\"x\""),
        5 => replaced("\"outcome\":\"ok\"", b"\"outcome\":\"sad\""),
        6 => at(600_000_000),
        _ => at(-8 * 86_400_000_000),
    };
    line.push(b'\n');
    line
}

/// Messages by range; one event in so many is corrupted.
fn records(all: u64, events_a_message: u64, corrupted_one_in: Option<u64>) -> Vec<Vec<Record>> {
    let mut ranges = Vec::new();
    for first in (0..all).step_by(RANGE_EVENTS as usize) {
        let messages =
            (first..all.min(first + RANGE_EVENTS)).step_by(usize::try_from(events_a_message).unwrap());
        let record = |seq: u64| {
            let mut payload = Vec::new();
            for seq in seq..seq + events_a_message {
                match corrupted_one_in {
                    // The seventh is a redirect, so each of the ways finds what it spoils.
                    Some(one_in) if seq % one_in == 7 => {
                        payload.extend_from_slice(&corrupt(&event(seq), seq / one_in));
                    }
                    _ => codec::encode(&event(seq), &mut payload),
                }
            }
            Record {
                offset: seq,
                appended_at_us: NOW_US,
                payload: payload.into(),
                events: u32::try_from(events_a_message).ok(),
                schema: Schema::Events,
                content_type: ContentType::Ndjson,
            }
        };
        ranges.push(messages.map(record).collect());
    }
    ranges
}

/// CPU time of this process, user and system, in seconds: from the kernel, in ticks of 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn main() {
    let all = std::env::args().nth(1).map_or(EVENTS, |events| events.parse().unwrap());
    for events_a_message in [1, 20] {
        let ranges = records(all, events_a_message, None);
        let payload: usize = ranges.iter().flatten().map(|record| record.payload.len()).sum();
        let begun = cpu_s();
        let readable = |record: &Record| {
            codec::lines(&record.payload).filter(|line| codec::decode(line).is_ok()).count()
        };
        let decoded: usize = ranges.iter().flatten().map(readable).sum();
        let took = cpu_s() - begun;
        #[allow(clippy::cast_precision_loss)]
        let ns_a_byte = took * 1e9 / payload as f64;
        println!(
            "{events_a_message} a message: {took:.2} CPU s to read {decoded} events, nothing else; {ns_a_byte:.2} ns a byte"
        );
        let begun = cpu_s();
        let (mut events, mut kept, mut bytes) = (0, 0, 0);
        for range in ranges {
            let built = collector::cost::build(range, NOW_US, as_it_comes()).unwrap();
            events += built.0;
            kept += built.1;
            bytes += built.2;
        }
        let took = cpu_s() - begun;
        println!(
            "{events_a_message} a message: {took:.2} CPU s for {events} events of {} bytes; {kept} kept, {bytes} bytes to insert",
            payload as u64 / events
        );
        corruption(all, events_a_message);
    }
    spans(all);
}

fn as_it_comes() -> Setup {
    Setup { policy: Arc::new(Policy::load(None).unwrap()), spans: true }
}

/// Builds each range without spans and with them in turns, under the built-in policy and with more successes kept.
fn spans(all: u64) {
    let ranges = records(all, 20, None);
    let keeping = |rate: f64| {
        let text =
            format!("client_errors = {{keep_max = 2000}}\nsuccesses = {{rate = {rate}, rare_keep = 20.0}}");
        Arc::new(Policy::parse(&text).unwrap())
    };
    for (name, policy) in [
        ("under the built-in policy", as_it_comes().policy),
        ("10 % of successes kept", keeping(0.1)),
        ("all kept", keeping(1.0)),
    ] {
        let (mut took_s, mut bytes, mut kept) = ([0.0; 2], [0; 2], 0);
        for round in 0..ROUNDS {
            for range in &ranges {
                for turn in [round % 2, 1 - round % 2] {
                    let with = turn as usize;
                    let (setup, range) =
                        (Setup { policy: Arc::clone(&policy), spans: with == 1 }, range.clone());
                    let begun = cpu_s();
                    let built = collector::cost::build(range, NOW_US, setup).unwrap();
                    took_s[with] += cpu_s() - begun;
                    bytes[with] += built.2;
                    kept += built.1;
                }
            }
        }
        println!(
            "{name}: {:.2} CPU s with spans, {:.2} without, in {ROUNDS} rounds: {:.3} times as much; {} kept, {} bytes of \
             spans each",
            took_s[1],
            took_s[0],
            took_s[1] / took_s[0],
            kept / u64::from(2 * ROUNDS),
            (bytes[1] - bytes[0]) as u64 * 2 / kept.max(1)
        );
    }
}

/// Builds each range unharmed and corrupted in turns, so that a machine that changes its mind changes it for both.
fn corruption(all: u64, events_a_message: u64) {
    let build = |range: Vec<Record>| {
        let begun = cpu_s();
        collector::cost::build(range, NOW_US, as_it_comes()).unwrap();
        cpu_s() - begun
    };
    let clean = records(all, events_a_message, None);
    let corrupted = records(all, events_a_message, Some(CORRUPTED_ONE_IN));
    let lines = corrupted.iter().flatten().flat_map(|record| codec::lines(&record.payload));
    let unreadable = lines.filter(|line| codec::decode(line).is_err()).count();
    let (mut clean_s, mut corrupted_s) = (0.0, 0.0);
    for round in 0..ROUNDS {
        for (clean, corrupted) in clean.iter().zip(&corrupted) {
            // Records share their payload: a copy costs next to nothing.
            let (of_clean, of_corrupted) = (clean.clone(), corrupted.clone());
            if round % 2 == 0 {
                clean_s += build(of_clean);
                corrupted_s += build(of_corrupted);
            } else {
                corrupted_s += build(of_corrupted);
                clean_s += build(of_clean);
            }
        }
    }
    println!(
        "{events_a_message} a message: {corrupted_s:.2} CPU s with one event in {CORRUPTED_ONE_IN} corrupted, {clean_s:.2} without, \
         in {ROUNDS} rounds; throughput {:.3} of clean; {unreadable} lines unreadable",
        clean_s / corrupted_s
    );
}
