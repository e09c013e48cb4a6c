//! The producer against a mocked cluster: what brokers answer, and when they don't.

use std::sync::Arc;
use std::time::Duration;

use event_log::kafka::{Acks, Kafka, KafkaConfig};
use event_log::{AppendError, EventLogMetrics, Message, Producer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Answer};

use crate::kafka_topic::{assert_each_once, config, event, metric, read_all, until};

const TOPIC: &str = "events";

struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    metrics: EventLogMetrics,
    producer: Arc<dyn Producer>,
}

fn mock(change: impl FnOnce(&mut KafkaConfig)) -> Mock {
    let cluster = MockCluster::new(3).unwrap();
    cluster.create_topic(TOPIC, 3, 3).unwrap();
    let mut config = config(&cluster.bootstrap_servers(), TOPIC);
    change(&mut config);
    assert_eq!(config.check(), []);
    let metrics = EventLogMetrics::default();
    let producer = Kafka::new(config).producer(metrics.clone()).unwrap();
    Mock { cluster, metrics, producer }
}

impl Mock {
    fn answer(&self, answers: &[Answer]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, answers);
    }

    fn lines(&self) -> Vec<crate::kafka_topic::Line> {
        read_all(&self.cluster.bootstrap_servers(), TOPIC)
    }

    fn append(&self, messages: Vec<Message>) -> tokio::task::JoinHandle<Result<(), AppendError>> {
        let producer = self.producer.clone();
        tokio::spawn(async move { producer.append(messages).await })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_what_a_message_is() {
    let mock = mock(|_| {});
    mock.producer.append(vec![Message::events("{}\n{}\n", 2), Message::producer("{}\n")]).await.unwrap();
    let mut schemas: Vec<_> = mock.lines().into_iter().map(|line| (line.headers, line.payload)).collect();
    schemas.sort();
    let headers = |events: &str, schema: &str| {
        [("content-type", "application/x-ndjson"), ("events", events), ("schema", schema)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let (event, note) = (headers("2", "hoplog.event.v1"), headers("0", "hoplog.producer.v1"));
    assert_eq!(schemas, [(note, "{}\n".to_owned()), (event, "{}\n{}\n".to_owned())]);
    assert_eq!(metric(&mock.metrics, "event_log_appended_events_total"), 2.0);
    assert_eq!(metric(&mock.metrics, "event_log_appended_messages_total"), 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_brokers_are_away_a_call_waits() {
    let mock = mock(|_| {});
    mock.producer.append((0..5).map(event).collect()).await.unwrap();
    mock.cluster.broker_down(-1).unwrap();
    let waiting = mock.append((5..10).map(event).collect());
    let down = "kafka_brokers{client=\"producer\",state=\"down\"}";
    until("brokers are seen to be down", || metric(&mock.metrics, down) >= 3.0).await;
    until("the wait is seen", || {
        metric(&mock.metrics, "kafka_oldest_waiting_seconds{client=\"producer\"}") > 0.0
            && metric(&mock.metrics, "kafka_queued_messages{client=\"producer\"}") == 5.0
    })
    .await;
    assert!(!waiting.is_finished());
    mock.cluster.broker_up(-1).unwrap();
    waiting.await.unwrap().unwrap();
    until("the wait is over", || metric(&mock.metrics, "kafka_queued_messages{client=\"producer\"}") == 0.0)
        .await;
    assert_each_once(&mock.lines(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brokers_answer_in_passing_is_tried_again_once_and_in_order() {
    let mock = mock(|_| {});
    let passing = [
        Answer::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Answer::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Answer::RD_KAFKA_RESP_ERR__TRANSPORT,
        Answer::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
    ];
    for round in 0..10 {
        mock.answer(&passing[round % passing.len()..]);
        mock.cluster.broker_round_trip_time(-1, Duration::from_millis(round as u64 * 3)).unwrap();
        let calls: Vec<_> = (0..5).map(|call| mock.append(vec![event(round * 5 + call)])).collect();
        for call in calls {
            call.await.unwrap().unwrap();
        }
        mock.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }
    let mut numbers: Vec<_> = mock.lines().iter().map(crate::kafka_topic::number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    assert_eq!(metric(&mock.metrics, "event_log_appended_messages_total"), 50.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_waited_for() {
    let mock = mock(|config| config.producer.queue_messages_max = 7);
    mock.cluster.broker_round_trip_time(-1, Duration::from_millis(20)).unwrap();
    mock.producer.append((0..100).map(event).collect()).await.unwrap();
    assert_each_once(&mock.lines(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_is_refused_before_it_is_sent() {
    let mock = mock(|_| {});
    let large = Message::events(vec![b' '; 1_000_001], 1);
    let error = mock.producer.append(vec![event(0), large]).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { bytes: 1_000_001, bytes_max: 1_000_000 }), "{error:?}");
    assert_eq!(mock.lines(), []);
    let largest = Message::events(vec![b' '; 1_000_000], 1);
    mock.producer.append(vec![largest]).await.unwrap();
    assert_eq!(metric(&mock.metrics, "event_log_append_failures_total{reason=\"too_large\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_finds_too_large_is_too_large() {
    let mock = mock(|_| {});
    mock.answer(&[Answer::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE]);
    let error = mock.producer.append(vec![event(0)]).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { .. }), "{error:?}");
    mock.producer.append(vec![event(0)]).await.unwrap();
    assert_each_once(&mock.lines(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_may_try_later() {
    let mock = mock(|_| {});
    // Twice, since on a slow day the two go in a request each.
    mock.answer(&[Answer::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED; 2]);
    let error = mock.producer.append(vec![event(0), event(1)]).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)) && error.is_retryable(), "{error:?}");
    let failures = "kafka_delivery_failures_total{reason=\"not_authorized\"}";
    assert_eq!(metric(&mock.metrics, failures), 2.0);
    // The right was granted; librdkafka sees that with the next metadata.
    loop {
        match mock.producer.append(vec![event(0), event(1)]).await {
            Ok(()) => break,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_each_once(&mock.lines(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fatal_error_what_may_be_there_is_not_sent_again() {
    let mock = mock(|_| {});
    mock.producer.append(vec![event(0)]).await.unwrap();
    mock.answer(&[Answer::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER; 3]);
    let error = mock.producer.append(vec![event(1)]).await.unwrap_err();
    assert!(matches!(error, AppendError::InDoubt { messages: 1, events: 1, .. }), "{error:?}");
    assert!(!error.is_retryable());
    mock.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    // Others go on, by a new producer.
    mock.producer.append(vec![event(2)]).await.unwrap();
    let numbers: Vec<_> = mock.lines().iter().map(crate::kafka_topic::number).collect();
    assert!(numbers.contains(&0) && numbers.contains(&2) && !numbers.contains(&1), "{numbers:?}");
    assert_eq!(metric(&mock.metrics, "kafka_delivery_failures_total{reason=\"in_doubt\"}"), 1.0);
    assert_eq!(metric(&mock.metrics, "event_log_append_failures_total{reason=\"in_doubt\"}"), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_waits_for_a_while_and_says_what_is_in_doubt() {
    let mock = mock(|config| config.producer.close_ms_max = 200);
    mock.producer.append(vec![event(0)]).await.unwrap();
    mock.cluster.broker_down(-1).unwrap();
    let waiting = mock.append(vec![event(1), event(2)]);
    until("it is handed over", || metric(&mock.metrics, "kafka_queued_messages{client=\"producer\"}") == 2.0)
        .await;
    mock.producer.close().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, AppendError::InDoubt { messages: 2, events: 2, .. }), "{error:?}");
    assert!(matches!(mock.producer.append(vec![event(3)]).await, Err(AppendError::Closed)));
    mock.producer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_delivers_what_is_on_its_way() {
    let mock = mock(|config| config.producer.linger_ms = 1000);
    let dropped = mock.append((0..10).map(event).collect());
    until("it is handed over", || {
        metric(&mock.metrics, "kafka_queued_messages{client=\"producer\"}") == 10.0
            || metric(&mock.metrics, "event_log_appended_messages_total") == 10.0
    })
    .await;
    // Whoever does not wait any more has its messages appended nevertheless.
    dropped.abort();
    mock.producer.close().await;
    assert_each_once(&mock.lines(), 10);
    assert_eq!(metric(&mock.metrics, "event_log_appended_messages_total"), 10.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_idempotence_a_message_is_tried_once_and_counted() {
    for acks in [Acks::One, Acks::None] {
        let mock = mock(|config| config.producer.acks = acks);
        mock.producer.append((0..10).map(event).collect()).await.unwrap();
        assert_each_once(&mock.lines(), 10);
    }
    let mock = mock(|config| config.producer.acks = Acks::One);
    mock.producer.append(vec![event(0)]).await.unwrap();
    mock.answer(&[Answer::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT]);
    let error = mock.producer.append(vec![event(1)]).await.unwrap_err();
    assert!(matches!(error, AppendError::InDoubt { .. }), "{error:?}");
    assert_eq!(metric(&mock.metrics, "kafka_delivery_failures_total{reason=\"in_doubt\"}"), 1.0);
}
