//! One round: its steps in their order, what each took, and which one failed. The link is deleted before the event is waited
//! for, so that whoever ends the probe meanwhile leaves nothing behind.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Serialize, Serializer};
use tokio::time::sleep;
use warehouse::Warehouse;

use super::visit::Shortener;

/// Between two looks for the event: fine enough to tell freshness in seconds.
const POLL: Duration = Duration::from_millis(50);

/// The event of a visit, if it is there: whether it is marked as a probe's. Recent ones only, or all days were searched.
const EVENT: &str = "SELECT toUInt8(synthetic) FROM requests
    WHERE request_id = {request_id:String} AND ts >= now() - INTERVAL 1 HOUR LIMIT 1";

/// Where everything is that a round needs.
pub(super) struct Probe {
    pub shortener: Shortener,
    pub warehouse: Warehouse,
    /// How long an event may be on its way.
    pub event_within: Duration,
}

/// A step of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    /// The API makes a link.
    Create,
    /// A visitor is redirected.
    Follow,
    /// The API deletes it.
    Delete,
    /// ClickHouse has the visit's event.
    Event,
}

/// What became of a round.
#[derive(Debug, Default, Serialize)]
pub(super) struct Round {
    /// The short URL, once there is one.
    pub short_url: Option<String>,
    /// The `X-Request-Id` of the visit: its event is to be found by it.
    pub request_id: Option<String>,
    /// The steps that were taken.
    pub steps: Vec<Taken>,
}

/// A step that was taken.
#[derive(Debug, Serialize)]
pub(super) struct Taken {
    pub step: Step,
    #[serde(rename = "took_ms", serialize_with = "as_ms")]
    pub took: Duration,
    /// What was wrong; nothing where it went well.
    pub error: Option<String>,
}

impl Step {
    /// As metrics and reports name it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Follow => "follow",
            Self::Delete => "delete",
            Self::Event => "event",
        }
    }
}

impl Probe {
    pub(super) async fn round(&self) -> Round {
        let shortener = self.shortener.clone();
        // Blocking, and to its end even if nobody waits any more: what was made is deleted.
        let mut round = tokio::task::spawn_blocking(move || visit(&shortener)).await.unwrap_or_default();
        if let Some(id) = round.request_id.clone() {
            let started = Instant::now();
            let event = self.event(&id).await;
            round.take(Step::Event, started, event);
        }
        round
    }

    /// Waits for the event.
    async fn event(&self, request_id: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            let found = self.warehouse.rows::<u8>(EVENT, &[("request_id", request_id)]).await;
            match found.as_deref() {
                Ok([0]) => bail!(
                    "the shortener took it for a visitor's: its http.probe_token is another, or a proxy drops Hoplog-Probe"
                ),
                Ok([_, ..]) => return Ok(()),
                Ok([]) | Err(_) if started.elapsed() < self.event_within => sleep(POLL).await,
                Ok([]) => bail!("not there after {} s", self.event_within.as_secs()),
                Err(_) => return Ok(found.map(|_| ())?),
            }
        }
    }
}

/// Everything but the event.
fn visit(shortener: &Shortener) -> Round {
    let mut round = Round::default();
    let started = Instant::now();
    let link = shortener.create();
    let Some(link) = round.take(Step::Create, started, link) else { return round };
    round.short_url = Some(link.short_url.clone());
    let started = Instant::now();
    let followed = shortener.follow(&link);
    round.request_id = round.take(Step::Follow, started, followed);
    let started = Instant::now();
    let deleted = shortener.delete(&link);
    round.take(Step::Delete, started, deleted);
    round
}

impl Round {
    /// The first step that failed.
    pub(super) fn failed(&self) -> Option<Step> {
        // A round without a step broke before its first one was done.
        let broke = self.steps.is_empty().then_some(Step::Create);
        self.steps.iter().find(|taken| taken.error.is_some()).map(|taken| taken.step).or(broke)
    }

    fn take<T>(&mut self, step: Step, started: Instant, outcome: Result<T>) -> Option<T> {
        let (done, error) = match outcome {
            Ok(done) => (Some(done), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        self.steps.push(Taken { step, took: started.elapsed(), error });
        done
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Taken { step, took, error } in &self.steps {
            let note = error.as_deref().unwrap_or("ok");
            writeln!(f, "{:<7}{:>8} ms  {note}", step.as_str(), took.as_millis())?;
        }
        match (&self.short_url, &self.request_id) {
            (Some(url), Some(id)) => writeln!(f, "{url}, request {id}"),
            (Some(url), None) => writeln!(f, "{url}"),
            (None, _) => Ok(()),
        }
    }
}

fn as_ms<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(took.as_millis().try_into().unwrap_or(u64::MAX))
}
