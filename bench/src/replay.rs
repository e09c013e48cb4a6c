//! Sends an access log again as traffic of short links: what a site's clients did, seen by the shortener. Every path
//! that was once answered 2xx or 3xx is a link, the others are unknown codes. It compares nothing:
//! `replay-check.sh` counts the log by itself.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::access_log::{AccessLog, Entry};
use crate::connection::Target;
use crate::error::LoadError;
use crate::links::{self, NewLink};
use crate::mapping::{code_of, write_mapping};
use crate::plan::{Conduct, Request, Requests};
use crate::report::Report;
use crate::run::{Traffic, send};
use crate::schedule::Schedule;

/// Where the paths of the log lead as links: a host that can't exist.
const ORIGIN: &str = "https://site.example";
/// Refusals quoted in the report; the rest is counted.
const REFUSED_SHOWN: usize = 5;

/// How fast to replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times the log's own pace.
    Times(f64),
    /// As fast as answers come.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            // The limits keep times of a log of years within a Duration.
            Ok(times) if (0.001..=1_000_000_000.0).contains(&times) => Ok(Self::Times(times)),
            _ if text == "max" => Ok(Self::Max),
            _ => Err(format!("`{text}` is neither a factor such as 1 or 60 nor `max`")),
        }
    }
}

/// What to replay and how.
#[derive(Debug, Clone)]
pub struct Replay {
    /// The log, plain or gzipped.
    pub log: PathBuf,
    /// How fast.
    pub speed: Speed,
    /// Connections, and so the most requests in flight.
    pub connections: usize,
    /// An answer later than this counts as a timeout.
    pub timeout_ms: u64,
    /// Where to write `code TAB path` of every path of the log.
    pub mapping: Option<PathBuf>,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayReport {
    /// Lines that are not in combined format, and were left out.
    pub malformed_lines: u64,
    /// Paths that are links.
    pub links: usize,
    /// Paths that are unknown codes.
    pub unknown_paths: usize,
    /// Links that the service refused, as `path: why`, the first few; they behave as unknown codes.
    pub refused: Vec<String>,
    /// How many it refused.
    pub refused_links: usize,
    /// Entries whose client is no address, sent without `X-Forwarded-For`.
    pub without_address: usize,
    /// The traffic.
    pub traffic: Report,
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} links, {} unknown paths, {} malformed lines, {} clients without address",
            self.links, self.unknown_paths, self.malformed_lines, self.without_address
        )?;
        if self.refused_links > 0 {
            writeln!(out, "{} LINKS REFUSED, among them:", self.refused_links)?;
            self.refused.iter().try_for_each(|refused| writeln!(out, "  {refused}"))?;
        }
        write!(out, "{}", self.traffic)
    }
}

/// Creates the links, replays the log and reports.
///
/// # Errors
/// When the log cannot be read or is empty, the mapping cannot be written, or the service not be reached.
pub async fn replay(options: &Replay, target: &Target) -> Result<ReplayReport, LoadError> {
    let AccessLog { mut entries, malformed } = AccessLog::open(&options.log)?;
    if entries.is_empty() {
        return Err(LoadError::EmptyLog { malformed });
    }
    // Logs are written when requests end; stable, so that the log decides within a second.
    entries.sort_by_key(|entry| entry.at_unix_s);
    let links = paths_of_links(&entries);
    let all: BTreeSet<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
    if let Some(path) = &options.mapping {
        let written =
            std::fs::File::create(path).and_then(|file| write_mapping(&all, std::io::BufWriter::new(file)));
        written.map_err(|source| LoadError::File { path: path.clone(), source })?;
    }
    let created = links::create(target, links.iter().map(|path| new_link(path)).collect()).await?;
    let refusals = links.iter().zip(created).filter_map(|(path, created)| Some((path, created.err()?)));
    let refused: Vec<String> = refusals.map(|(path, why)| format!("{path}: {why}")).collect();
    let counts = (links.len(), all.len() - links.len());
    let without_address = entries.iter().filter(|entry| address(entry).is_none()).count();

    let (schedule, wanted_rate) = schedule(&entries, options.speed);
    let known = entries.iter().map(|entry| links.contains(entry.path.as_str())).collect();
    let requests = Log { known, entries, host: target.address.clone() };
    let traffic = Traffic {
        schedule,
        requests: Box::new(requests),
        connections: options.connections.max(1),
        timeout: Duration::from_millis(options.timeout_ms.max(1)),
        until: None,
    };
    let (tally, took) = send(traffic, &target.address).await;
    Ok(ReplayReport {
        malformed_lines: malformed,
        links: counts.0,
        unknown_paths: counts.1,
        refused_links: refused.len(),
        refused: refused.into_iter().take(REFUSED_SHOWN).collect(),
        without_address,
        traffic: tally.report(0, wanted_rate, took),
    })
}

/// Paths that were answered 2xx or 3xx at least once.
fn paths_of_links(entries: &[Entry]) -> BTreeSet<&str> {
    let found = entries.iter().filter(|entry| (200..400).contains(&entry.status));
    found.map(|entry| entry.path.as_str()).collect()
}

fn new_link(path: &str) -> NewLink {
    NewLink {
        long_url: format!("{ORIGIN}{path}"),
        custom_slug: Some(code_of(path)),
        title: Some(path.to_owned()),
    }
}

fn schedule(entries: &[Entry], speed: Speed) -> (Schedule, Option<f64>) {
    let Speed::Times(times) = speed else { return (Schedule::count(entries.len() as u64), None) };
    let first = entries.first().map_or(0, |entry| entry.at_unix_s);
    #[expect(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^53")]
    let due = |entry: &Entry| entry.at_unix_s.saturating_sub(first) as f64 / times;
    let length_s = entries.last().map_or(0.0, due);
    #[expect(clippy::cast_precision_loss, reason = "seconds and counts are far below 2^53")]
    let rate = (length_s > 0.0).then(|| entries.len() as f64 / length_s);
    let times = entries.iter().map(|entry| Duration::try_from_secs_f64(due(entry)).unwrap_or(Duration::MAX));
    (Schedule::listed(times.collect()), rate)
}

fn address(entry: &Entry) -> Option<IpAddr> {
    entry.client.parse().ok()
}

/// The log as requests.
struct Log {
    entries: Vec<Entry>,
    known: Vec<bool>,
    host: String,
}

impl Requests for Log {
    fn fill(&self, index: u64, request: &mut Request) {
        request.bytes.clear();
        // The schedule has exactly as many tickets as there are entries.
        let Ok(index) = usize::try_from(index) else { return };
        let (entry, known) = (&self.entries[index], self.known[index]);
        render(entry, &self.host, &mut request.bytes);
        request.kind = if known { "link" } else { "unknown" };
        request.method = match entry.method.as_str() {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "OPTIONS" => "OPTIONS",
            _ => "other",
        };
        request.conduct = Some(Conduct::Normal);
    }
}

fn render(entry: &Entry, host: &str, bytes: &mut Vec<u8>) {
    let mut add = |parts: &[&str]| parts.iter().for_each(|part| bytes.extend_from_slice(part.as_bytes()));
    add(&[&entry.method, " /", &code_of(&entry.path), " HTTP/1.1\r\nHost: ", host, "\r\n"]);
    if let Some(address) = address(entry) {
        add(&["X-Forwarded-For: ", &address.to_string(), "\r\n"]);
    }
    for (name, value) in [("User-Agent: ", &entry.user_agent), ("Referer: ", &entry.referrer)] {
        if let Some(value) = value {
            // A log is no authority on what may stand in a header.
            add(&[name, &value.replace(char::is_control, " "), "\r\n"]);
        }
    }
    if matches!(entry.method.as_str(), "POST" | "PUT" | "PATCH") {
        add(&["Content-Length: 0\r\n"]);
    }
    add(&["\r\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::parse_line;

    fn entry(path: &str, status: u16, second: u8) -> Entry {
        let line = format!(
            r#"192.0.2.7 - - [17/May/2015:10:05:{second:02} +0000] "GET {path} HTTP/1.1" {status} 1 "http://r.example/x" "A""#
        );
        parse_line(&line).unwrap()
    }

    #[test]
    fn a_path_that_was_found_once_is_a_link() {
        let entries = [entry("/a", 404, 0), entry("/a", 304, 1), entry("/b", 404, 2), entry("/c?q", 206, 3)];
        assert_eq!(paths_of_links(&entries), BTreeSet::from(["/a", "/c?q"]));
    }

    #[test]
    fn a_request_has_the_client_of_the_log_and_nothing_else_of_it() {
        let mut bytes = Vec::new();
        let mut entry = entry("/a?token=secret", 200, 0);
        entry.referrer = Some("http://r.example/\r\nX-Evil: 1".to_owned());
        render(&entry, "h", &mut bytes);
        let code = code_of("/a?token=secret");
        let wanted = format!(
            "GET /{code} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\nUser-Agent: A\r\n\
             Referer: http://r.example/  X-Evil: 1\r\n\r\n"
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
    }

    #[test]
    fn the_pace_is_the_logs_own_times_the_speed() {
        let entries = [entry("/", 200, 3), entry("/", 200, 3), entry("/", 200, 9)];
        let (schedule, rate) = schedule(&entries, Speed::Times(60.0));
        let due: Vec<_> = std::iter::from_fn(|| schedule.next()).map(|ticket| ticket.due.unwrap()).collect();
        assert_eq!(due, [Duration::ZERO, Duration::ZERO, Duration::from_millis(100)]);
        assert!((rate.unwrap() - 30.0).abs() < 1e-9);
    }

    #[test]
    fn speeds() {
        assert_eq!("60".parse(), Ok(Speed::Times(60.0)));
        assert_eq!("max".parse(), Ok(Speed::Max));
        for wrong in ["0", "-1", "fast", "nan", "inf", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
