//! What the emitter counts, from the metrics of `hoplog serve`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::Target;
use bench::connection::Connection;

/// Kafka is back and has only to take what was waiting; more than this is a failure.
const HANDED_ON_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// Counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Events that the log acknowledged.
    pub(crate) published: u64,
    /// Events that were given up, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Counters {
    /// Those of the service whose ops listener is at the next port, as `--port-base` has it.
    pub(crate) async fn read(target: &Target) -> Result<Self> {
        let (host, port) = target.address.rsplit_once(':').context("the address has no port")?;
        let address = format!("{host}:{}", port.parse::<u16>()? + 1);
        let mut connection = Connection::open(&address).await?;
        connection.send(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let answer = connection.receive(false).await?;
        if answer.status != 200 {
            bail!("metrics were answered by {}", answer.status);
        }
        Ok(Self::parse(&String::from_utf8_lossy(connection.body())))
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
            let Ok(value) = value.parse() else { continue };
            if name == "hoplog_events_published_total" {
                found.published = value;
            }
            let reason = name.strip_prefix("hoplog_events_dropped_total{reason=\"");
            if let Some(reason) = reason.and_then(|rest| rest.strip_suffix("\"}")) {
                found.dropped.insert(reason.to_owned(), value);
            }
        }
        found
    }

    /// What was dropped between two moments, by reason; reasons without any are left out.
    pub(crate) fn dropped_since(&self, before: &Self) -> BTreeMap<String, u64> {
        let before = |reason| before.dropped.get(reason).copied().unwrap_or_default();
        let since = self.dropped.iter().map(|(reason, count)| (reason.clone(), count - before(reason)));
        since.filter(|(_, count)| *count > 0).collect()
    }

    /// Events of which the emitter is rid.
    fn handed_on(&self) -> u64 {
        self.published + self.dropped.values().sum::<u64>()
    }
}

/// Waits until each of the requests has its event in the log, or among those dropped: that none is missing from both is
/// what this shows besides.
pub(crate) async fn until_handed_on(target: &Target, requests: impl Fn() -> u64) -> Result<Counters> {
    let deadline = Instant::now() + HANDED_ON_WITHIN;
    loop {
        // In this order: a request answered in between makes the counters larger, never smaller.
        let requests = requests();
        let counters = Counters::read(target).await?;
        if counters.handed_on() >= requests {
            return Ok(counters);
        }
        if Instant::now() > deadline {
            bail!("{requests} requests were answered, and of their events only this is known: {counters:?}");
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn counters_are_read() {
        let before = Counters::parse("hoplog_events_dropped_total{reason=\"queue_full\"} 2\n");
        let after = Counters::parse(
            "# TYPE x counter\nhoplog_events_dropped_total{reason=\"queue_full\"} 5\n\
             hoplog_events_dropped_total{reason=\"shutdown\"} 0\nhoplog_events_published_total 7\nother 1.5\n",
        );
        assert_eq!((after.published, after.handed_on()), (7, 12));
        assert_eq!(after.dropped_since(&before), [("queue_full".to_owned(), 3)].into());
    }
}
