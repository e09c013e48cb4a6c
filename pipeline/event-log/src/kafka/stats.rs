//! From librdkafka's statistics to metrics: one line a client, whatever the number of brokers, and no host's name.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use rdkafka::Statistics;
use rdkafka::statistics::Broker;
use rdkafka::types::RDKafkaErrorCode;

use super::client::{Failure, Role};
use crate::EventLogMetrics;

/// Upper bounds of delivery times: 1 ms to 131 s in doublings; a minute without brokers still shows.
const DELIVERY_BUCKETS: (f64, f64, u16) = (0.001, 2.0, 18);

type F64Gauge = Gauge<f64, AtomicU64>;

/// What only Kafka has.
#[derive(Debug, Clone)]
pub(crate) struct KafkaMetrics {
    pub(super) delivery_seconds: Histogram,
    delivery_failures: Family<ReasonLabels, Counter>,
    connection_errors: Family<ConnectionLabels, Counter>,
    oldest_waiting_s: Family<ClientLabels, F64Gauge>,
    queued_messages: Family<ClientLabels, Gauge>,
    queued_bytes: Family<ClientLabels, Gauge>,
    brokers: Family<BrokerLabels, Gauge>,
    rtt_p99_s: Family<ClientLabels, F64Gauge>,
    requests_waiting: Family<ClientLabels, Gauge>,
    request_retries: Family<ClientLabels, Counter>,
    request_timeouts: Family<ClientLabels, Counter>,
    disconnects: Family<ClientLabels, Counter>,
    relayed_messages: Counter,
    relayed_events: Counter,
    relay_failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClientLabels {
    client: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    client: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BrokerLabels {
    client: &'static str,
    state: &'static str,
}

impl Default for KafkaMetrics {
    fn default() -> Self {
        let (first, factor, count) = DELIVERY_BUCKETS;
        Self {
            delivery_seconds: Histogram::new(exponential_buckets(first, factor, count)),
            delivery_failures: Family::default(),
            connection_errors: Family::default(),
            oldest_waiting_s: Family::default(),
            queued_messages: Family::default(),
            queued_bytes: Family::default(),
            brokers: Family::default(),
            rtt_p99_s: Family::default(),
            requests_waiting: Family::default(),
            request_retries: Family::default(),
            request_timeouts: Family::default(),
            disconnects: Family::default(),
            relayed_messages: Counter::default(),
            relayed_events: Counter::default(),
            relay_failures: Counter::default(),
        }
    }
}

impl KafkaMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let kafka = registry.sub_registry_with_prefix("kafka");
        let help = "From handing a message to the client until it was acknowledged or failed";
        kafka.register_with_unit("delivery", help, Unit::Seconds, self.delivery_seconds.clone());
        let help = "Messages that were not delivered, by reason; in_doubt may be in the log nevertheless";
        kafka.register("delivery_failures", help, self.delivery_failures.clone());
        let help = "Errors of connections, by client and reason";
        kafka.register("connection_errors", help, self.connection_errors.clone());
        let help = "How long the oldest message that is not acknowledged has been waiting";
        kafka.register_with_unit("oldest_waiting", help, Unit::Seconds, self.oldest_waiting_s.clone());
        let help = "Messages in the client: to be acknowledged (producers), or fetched ahead (consumers)";
        kafka.register("queued_messages", help, self.queued_messages.clone());
        kafka.register_with_unit("queued", "Size of these messages", Unit::Bytes, self.queued_bytes.clone());
        kafka.register(
            "brokers",
            "Brokers known to the client, by state of the connection",
            self.brokers.clone(),
        );
        let help = "Highest 99th percentile of a broker's round trip in the last second or so";
        kafka.register_with_unit("rtt_p99", help, Unit::Seconds, self.rtt_p99_s.clone());
        let help = "Requests to be sent or answered";
        kafka.register("requests_waiting", help, self.requests_waiting.clone());
        kafka.register("request_retries", "Requests that were repeated", self.request_retries.clone());
        kafka.register(
            "request_timeouts",
            "Requests without an answer in time",
            self.request_timeouts.clone(),
        );
        kafka.register("disconnects", "Connections that were closed", self.disconnects.clone());
        kafka.register(
            "relayed_messages",
            "Messages Kafka took from the outbox",
            self.relayed_messages.clone(),
        );
        kafka.register("relayed_events", "Events in these messages", self.relayed_events.clone());
        let help = "Times that handing on the outbox failed and began again";
        kafka.register("relay_failures", help, self.relay_failures.clone());
    }

    pub(super) fn delivery_failed(&self, reason: &'static str) {
        self.delivery_failures.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(super) fn relayed(&self, messages: u64, events: u64) {
        self.relayed_messages.inc_by(messages);
        self.relayed_events.inc_by(events);
    }

    pub(super) fn relay_failed(&self) {
        self.relay_failures.inc();
    }

    pub(super) fn connection_failed(&self, role: Role, failure: &Failure) {
        use RDKafkaErrorCode as E;
        let reason = match failure.code {
            E::BrokerTransportFailure | E::NetworkException => "transport",
            E::AllBrokersDown => "all_down",
            E::Resolve => "resolve",
            E::Authentication | E::SaslAuthenticationFailed | E::UnsupportedSASLMechanism => "authentication",
            E::SSL => "tls",
            E::OperationTimedOut | E::RequestTimedOut | E::TimedOutQueue => "timeout",
            E::Fatal => "fatal",
            _ => "other",
        };
        self.connection_errors.get_or_create(&ConnectionLabels { client: role.name(), reason }).inc();
    }

    pub(super) fn oldest_waiting(&self, role: Role, seconds: f64) {
        self.oldest_waiting_s.get_or_create(&ClientLabels { client: role.name() }).set(seconds);
    }
}

/// Takes one client's statistics. librdkafka's counters begin with the client, ours with the process.
#[derive(Debug)]
pub(super) struct StatsObserver {
    labels: ClientLabels,
    metrics: KafkaMetrics,
    last: Mutex<Totals>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    retries: u64,
    timeouts: u64,
    disconnects: u64,
}

impl StatsObserver {
    pub(super) fn new(role: Role, metrics: &EventLogMetrics) -> Self {
        let labels = ClientLabels { client: role.name() };
        Self { labels, metrics: metrics.kafka.clone(), last: Mutex::default() }
    }

    pub(super) fn observe(&self, statistics: &Statistics) {
        let (metrics, labels) = (&self.metrics, &self.labels);
        // Without those that were only named in the configuration, which are the same brokers once more.
        let brokers = || statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        let up = brokers().filter(|broker| broker.state == "UP").count();
        for (state, count) in [("up", up), ("down", brokers().count() - up)] {
            let labels = BrokerLabels { client: labels.client, state };
            metrics.brokers.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let rtt_us = brokers().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.p99).max();
        // Microseconds below 2^53 are exact.
        #[allow(clippy::cast_precision_loss)]
        metrics.rtt_p99_s.get_or_create(labels).set(rtt_us.unwrap_or(0) as f64 / 1e6);
        let waiting = brokers().map(|broker| broker.outbuf_cnt + broker.waitresp_cnt).sum();
        metrics.requests_waiting.get_or_create(labels).set(waiting);
        let (messages, bytes) = queued(statistics);
        metrics.queued_messages.get_or_create(labels).set(messages);
        metrics.queued_bytes.get_or_create(labels).set(bytes);
        self.count(statistics.brokers.values());
    }

    fn count<'a>(&self, brokers: impl Iterator<Item = &'a Broker>) {
        let now = brokers.fold(Totals::default(), |sum, broker| Totals {
            retries: sum.retries + broker.txretries,
            timeouts: sum.timeouts + broker.req_timeouts,
            disconnects: sum.disconnects + u64::try_from(broker.disconnects.unwrap_or(0)).unwrap_or(0),
        });
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (metrics, labels) = (&self.metrics, &self.labels);
        // A broker that left the cluster takes its counts along: less than before is no news.
        metrics.request_retries.get_or_create(labels).inc_by(now.retries.saturating_sub(last.retries));
        metrics.request_timeouts.get_or_create(labels).inc_by(now.timeouts.saturating_sub(last.timeouts));
        metrics.disconnects.get_or_create(labels).inc_by(now.disconnects.saturating_sub(last.disconnects));
        *last = now;
    }
}

/// Messages and bytes in the client.
fn queued(statistics: &Statistics) -> (i64, i64) {
    let clamp = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    if statistics.client_type == "producer" {
        return (clamp(statistics.msg_cnt), clamp(statistics.msg_size));
    }
    let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
    partitions.fold((0, 0), |(messages, bytes), partition| {
        (messages + partition.fetchq_cnt, bytes + clamp(partition.fetchq_size))
    })
}
