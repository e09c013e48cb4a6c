//! The shortener as callers and visitors see it: a link is made by the API, followed, and deleted. Every request says that
//! it is a probe's.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use ureq::http::header::{CONTENT_TYPE, LOCATION};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;
use uuid::Uuid;

/// One request, with everything that belongs to it. Far beyond any promise: what takes longer has failed.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// How long a link lasts that could not be deleted.
const LINK_LASTS: time::Duration = time::Duration::minutes(10);

/// Bytes of a refusal that are shown.
const REFUSAL_BYTES_MAX: u64 = 2_048;

/// The shortener, and what to show it.
#[derive(Clone)]
pub(super) struct Shortener {
    agent: Agent,
    base: Url,
    key: String,
    token: String,
}

/// A link that was made.
pub(super) struct Link {
    pub short_url: String,
    code: String,
    target: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    short_code: String,
    short_url: String,
}

impl Shortener {
    /// # Errors
    /// When the URL is none.
    pub(super) fn new(url: &str, key: &str, token: &str) -> Result<Self> {
        let base = Url::parse(url).with_context(|| format!("{url} is no URL"))?;
        ensure!(!base.cannot_be_a_base(), "{url} is no URL of a server");
        let agent = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_WITHIN))
            .user_agent(concat!("hoplog-probe/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { agent, base, key: key.to_owned(), token: token.to_owned() })
    }

    /// # Errors
    /// When there is no answer, or no 201.
    pub(super) fn create(&self) -> Result<Link> {
        // `.invalid` never exists: nobody is disturbed by whoever follows it.
        let target = format!("https://probe.invalid/{}", Uuid::new_v4().simple());
        let until = (OffsetDateTime::now_utc() + LINK_LASTS).format(&Rfc3339)?;
        let body =
            json!({ "longUrl": target, "validUntil": until, "tags": ["hoplog-probe"], "crawlable": false });
        let request = self.agent.post(self.api(&[])?.as_str()).header("X-Api-Key", &self.key);
        let mut answer = request
            .header(shortener::probe::HEADER.as_str(), &self.token)
            .header(CONTENT_TYPE, "application/json")
            .send(body.to_string())?;
        expect(&mut answer, StatusCode::CREATED)?;
        let made = answer.body_mut().read_to_string()?;
        let made: Made = serde_json::from_str(&made).context("the answer is no short URL")?;
        Ok(Link { short_url: made.short_url, code: made.short_code, target })
    }

    /// The id of the request.
    ///
    /// # Errors
    /// When there is no answer, or it leads elsewhere.
    pub(super) fn follow(&self, link: &Link) -> Result<String> {
        // Where the probe was told that the shortener is, whatever links are called.
        let url = self.base.join(&link.code).context("the code is no path")?;
        let mut answer =
            self.agent.get(url.as_str()).header(shortener::probe::HEADER.as_str(), &self.token).call()?;
        if !answer.status().is_redirection() {
            expect(&mut answer, StatusCode::FOUND)?;
        }
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let location = header(LOCATION.as_str()).unwrap_or_default();
        ensure!(location == link.target, "it leads to {location:?} instead of {}", link.target);
        header("x-request-id").map(str::to_owned).context("the answer has no X-Request-Id")
    }

    /// # Errors
    /// When there is no answer, or no 204.
    pub(super) fn delete(&self, link: &Link) -> Result<()> {
        let request = self.agent.delete(self.api(&[&link.code])?.as_str()).header("X-Api-Key", &self.key);
        let mut answer = request.header(shortener::probe::HEADER.as_str(), &self.token).call()?;
        expect(&mut answer, StatusCode::NO_CONTENT)
    }

    fn api(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.base.join("rest/v3/short-urls")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        Ok(url)
    }
}

/// Says what came instead: the problem document, where there is one.
fn expect(answer: &mut Response<Body>, status: StatusCode) -> Result<()> {
    if answer.status() == status {
        return Ok(());
    }
    let found = answer.status();
    let text = answer.body_mut().with_config().limit(REFUSAL_BYTES_MAX).read_to_string().unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or_default();
    bail!("{found} instead of {}: {detail}", status.as_u16())
}
