//! The day in the real engine: events through the real log and the real collector into the real schema.

use std::time::{Duration, Instant};

use collector::{CollectorConfig, CollectorMetrics, EventSpans};
use event_log::spool::{Spool, SpoolConfig};
use event_log::{EventLogMetrics, Message, Producer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use warehouse::{Warehouse, WarehouseConfig, migrate};
use wide_event::{Event, codec};

const DATABASE: &str = "dashboards";
const GROUP: &str = "collector";
/// Events in a message, as the publisher has at most.
const MESSAGE_EVENTS: usize = 1_000;
/// Events in a range: with half an hour of them, not with half a day, whose series would be more than a range tells apart.
const RANGE_EVENTS: u64 = 4_000;
/// More than anything here takes; nothing is asserted about it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a query answered.
pub(crate) struct Answer {
    pub(crate) rows: Vec<Value>,
    pub(crate) rows_read: u64,
    pub(crate) took: Duration,
}

/// An HTTP client that calls no status an error.
pub(crate) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().new_agent()
}

/// Asks as Grafana's plugin does, as a user who reads.
pub(crate) fn query(agent: &ureq::Agent, sql: &str) -> Result<Answer, String> {
    let url = format!(
        "http://{}/?database={DATABASE}&default_format=JSON&readonly=2",
        testbed::shared_engine_address()
    );
    let begun = Instant::now();
    let mut response = agent.post(url).send(sql).map_err(|error| error.to_string())?;
    let text = response.body_mut().with_config().limit(1 << 30).read_to_string();
    let text = text.map_err(|error| error.to_string())?;
    let took = begun.elapsed();
    if response.status() != 200 {
        return Err(text);
    }
    let mut json: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let rows_read = json["statistics"]["rows_read"].as_u64().unwrap_or_default();
    let Value::Array(rows) = json["data"].take() else { return Err(text) };
    Ok(Answer { rows, rows_read, took })
}

/// The log and the collector between the day and the tables.
pub(crate) struct Pipeline {
    spool: Spool,
    producer: event_log::spool::SpoolProducer,
    warehouse: Warehouse,
    _place: tempfile::TempDir,
}

impl Pipeline {
    pub(crate) async fn open() -> Self {
        let place = tempfile::tempdir().unwrap();
        let config =
            SpoolConfig { path: place.path().join("spool"), partitions: 2, ..SpoolConfig::default() };
        let spool = Spool::new(config);
        spool.open().await.unwrap();
        let warehouse = Warehouse::new(&WarehouseConfig {
            url: format!("http://{}", testbed::shared_engine_address()),
            database: DATABASE.to_owned(),
            ..WarehouseConfig::default()
        });
        migrate(&warehouse).await.unwrap();
        Self { producer: spool.producer(EventLogMetrics::default()), spool, warehouse, _place: place }
    }

    pub(crate) async fn append(&self, events: &[Event<'_>]) {
        let message = |events: &[Event<'_>]| {
            let mut payload = Vec::new();
            events.iter().for_each(|event| codec::encode(event, &mut payload));
            Message::events(payload, u32::try_from(events.len()).unwrap())
        };
        self.producer.append(events.chunks(MESSAGE_EVENTS).map(message).collect()).await.unwrap();
    }

    /// A message in which one line is no event: a dead letter.
    pub(crate) async fn append_nonsense(&self) {
        self.producer.append(vec![Message::events(b"{\"ts\":\"nonsense\"}\n".to_vec(), 1)]).await.unwrap();
    }

    /// Collects until nothing is left.
    pub(crate) async fn collect(&self) {
        let range_events_max = RANGE_EVENTS;
        let config = CollectorConfig { flush_ms_max: 50, range_events_max, ..CollectorConfig::default() };
        let shutdown = CancellationToken::new();
        let consumer: Box<dyn event_log::Consumer> = Box::new(self.spool.consumer(GROUP).await.unwrap());
        let collector = tokio::spawn(collector::run(
            config,
            std::future::ready(consumer),
            None,
            self.warehouse.clone(),
            CollectorMetrics::default(),
            EventSpans::default(),
            shutdown.clone(),
        ));
        let all_collected = async || {
            let totals = self.spool.totals().await.unwrap();
            let committed =
                |groups: &[event_log::spool::GroupTotals]| groups.iter().map(|group| group.offset).max();
            totals.iter().all(|totals| committed(&totals.groups).unwrap_or(0) == totals.end_offset)
        };
        let waiting = async {
            while !all_collected().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("everything is collected");
        shutdown.cancel();
        collector.await.unwrap().unwrap();
    }
}
