//! Events of a producer that is never in doubt: it knows what the log has accepted, event by event, and so what the
//! tables have to say in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use event_log::kafka::Kafka;
use event_log::{EventLog, EventLogMetrics, Message};
use wide_event::{Event, Orphan, Outcome, SpanId, Text, Timestamp, TraceId, Visitor, codec};

use super::deployment::Deployment;

/// Events in a message.
const IN_MESSAGE: u64 = 100;

/// What was accepted.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    pub(super) events: u64,
    pub(super) clicks: BTreeMap<String, u64>,
    /// By kind, clicks among them.
    pub(super) visits: BTreeMap<String, u64>,
    /// By country and kind, in one string.
    pub(super) countries: BTreeMap<String, u64>,
    pub(super) outcomes: BTreeMap<String, u64>,
    pub(super) duration_us: u64,
}

/// A producer in a thread of its own.
pub(super) struct Traffic {
    over: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<Accepted>,
}

impl Traffic {
    /// Starts to send about so many events a second, without an end.
    pub(super) fn start(log: Kafka, per_second: u64) -> Self {
        let (over, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (until, count) = (Arc::clone(&over), Arc::clone(&accepted));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.unwrap().block_on(send(log, per_second, &until, &count))
        });
        Self { over, accepted, thread }
    }

    /// Events accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Ends it once the log has taken what was begun.
    pub(super) fn end(self) -> Accepted {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn send(log: Kafka, per_second: u64, over: &AtomicBool, count: &AtomicU64) -> Accepted {
    let producer = EventLog::producer(&log, EventLogMetrics::default()).unwrap();
    let (mut accepted, begun) = (Accepted::default(), Instant::now());
    let mut seq = 0;
    while !over.load(Ordering::Relaxed) {
        // A tenth of a second's worth at a time, in as many messages as it takes.
        let messages: Vec<_> =
            (0..per_second.div_ceil(10 * IN_MESSAGE)).map(|_| message(&mut seq, &mut accepted)).collect();
        producer.append(messages).await.unwrap();
        count.store(accepted.events, Ordering::Relaxed);
        let ahead = Duration::from_secs_f64(accepted.events as f64 / per_second as f64);
        tokio::time::sleep(ahead.saturating_sub(begun.elapsed())).await;
    }
    producer.close().await;
    accepted
}

fn message(seq: &mut u64, accepted: &mut Accepted) -> Message {
    let mut payload = Vec::new();
    for _ in 0..IN_MESSAGE {
        *seq += 1;
        let event = event(*seq);
        accepted.events += 1;
        accepted.duration_us += event.duration_us;
        *accepted.outcomes.entry(event.outcome.as_str().to_owned()).or_default() += 1;
        if event.click {
            *accepted.clicks.entry(event.code.as_str().to_owned()).or_default() += 1;
        }
        let kind = if event.click { "click" } else { event.orphan.as_str() };
        if !kind.is_empty() {
            *accepted.visits.entry(kind.to_owned()).or_default() += 1;
            *accepted.countries.entry(format!("{} {kind}", event.country.as_str())).or_default() += 1;
        }
        codec::encode(&event, &mut payload);
    }
    Message::events(payload, IN_MESSAGE as u32)
}

/// Mostly clicks, some unknown codes, few failures.
fn event(seq: u64) -> Event<'static> {
    let outcome = match seq % 100 {
        0 => Outcome::ServerError,
        1..=4 => Outcome::ClientError,
        _ => Outcome::Ok,
    };
    Event {
        ts: Timestamp::from_system(SystemTime::now()),
        service: Text::new("hoplog"),
        instance: Text::new("web-1"),
        boot_id: Text::new("019aa3a0-0000-7000-8000-000000000000"),
        seq,
        status: match outcome {
            Outcome::Ok => 302,
            Outcome::ClientError => 404,
            _ => 500,
        },
        outcome,
        method: Text::new("GET"),
        route: Text::new("/{code}"),
        code: Text::new(format!("code{}", seq % 97)),
        click: outcome == Outcome::Ok,
        orphan: if outcome == Outcome::ClientError { Orphan::InvalidShortUrl } else { Orphan::None },
        country: Text::new(["DE", "FR", ""][(seq % 3) as usize]),
        visitor: Visitor(seq % 1009 + 1),
        trace_id: TraceId(u128::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)),
        span_id: SpanId(seq),
        duration_us: 100 + seq % 1000,
        ..Event::default()
    }
}

impl Accepted {
    /// The tables say the very same, and nothing is missing in between.
    pub(super) fn assert_stored(&self, deployment: &Deployment) {
        let report = deployment.verified();
        println!("{report}");
        assert_eq!(report["events"], self.events);
        assert_eq!(report["producer_gaps"], 0);
        assert_eq!(report["dead_lettered"], 0);
        let table = |sql: &str| -> BTreeMap<String, u64> {
            let text = deployment.query(sql);
            let row = |line: &str| {
                let (key, count) = line.split_once('\t').unwrap();
                (key.to_owned(), count.parse().unwrap())
            };
            text.lines().map(row).collect()
        };
        assert_eq!(table("SELECT code, sum(clicks) FROM clicks_by_hour GROUP BY code"), self.clicks);
        assert_eq!(table("SELECT code, count() FROM clicks GROUP BY code"), self.clicks);
        assert_eq!(table("SELECT kind, sum(visits) FROM visits_by_hour GROUP BY kind"), self.visits);
        let orphans = self.visits.iter().filter(|(kind, _)| *kind != "click");
        let orphans: BTreeMap<_, _> = orphans.map(|(kind, count)| (kind.clone(), *count)).collect();
        assert_eq!(table("SELECT kind, count() FROM orphan_visits GROUP BY kind"), orphans);
        for dimension in ["country", "device", "browser", "os", "referrer_host"] {
            let of = format!("WHERE dimension = '{dimension}' GROUP BY 1");
            assert_eq!(table(&format!("SELECT code, sum(clicks) FROM clicks_by_day {of}")), self.clicks);
            assert_eq!(table(&format!("SELECT kind, sum(visits) FROM visits_by_day {of}")), self.visits);
        }
        let countries = "SELECT concat(value, ' ', kind) AS k, sum(visits) FROM visits_by_day WHERE dimension = 'country' GROUP BY k";
        assert_eq!(table(countries), self.countries);
        assert_eq!(
            table("SELECT outcome, sum(requests) FROM requests_by_minute GROUP BY outcome"),
            self.outcomes
        );
        assert_eq!(
            deployment.number("SELECT sum(duration_us_sum) FROM requests_by_minute"),
            self.duration_us
        );
        let once = "SELECT count() > 0 AND count() = uniqExact(TraceId, SpanId) FROM otel_traces";
        assert_eq!(deployment.number(once), 1, "spans are there once");
        // One that is of no kept event would be of another sample than the rows.
        let hops = "SELECT count() FROM otel_traces WHERE SpanKind = 'Server' AND (TraceId, SpanId) NOT IN \
                    (SELECT trace_id, span_id FROM requests)";
        assert_eq!(deployment.number(hops), 0, "spans of events that are not kept");
    }
}
