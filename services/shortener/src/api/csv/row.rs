//! A row to a link that is to be made, through what reads single creations: so a row may be what a creation may be.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use url::Url;

use super::Format;
use super::cells::unguard;
use super::columns::{Column, Header};
use super::tags;
use crate::access::Access;
use crate::api::domains::{self, NewDomains};
use crate::api::fields::parse_date;
use crate::api::problem::Problem;
use crate::api::short_urls::{read_creation, read_rules};
use crate::keys::now;
use crate::link::UnixSeconds;
use crate::links::CreateLink;
use crate::service::App;

/// Hosts of Bitly's own: nobody can bring them along. The links go to the default domain.
const BITLY_HOSTS: [&str; 4] = ["bit.ly", "bitly.com", "bitly.is", "j.mp"];

/// How far the clock of the machine that a file is from may be ahead, seconds.
const CLOCK_AHEAD_S: i64 = 300;

/// Reads rows of one file for one key.
pub(super) struct RowReader {
    pub(super) app: Arc<App>,
    pub(super) access: Access,
}

/// A short URL in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Name {
    domain: String,
    code: String,
}

impl RowReader {
    /// The link that a row asks for; it may begin a domain.
    pub(super) fn read(
        &self,
        header: &Header,
        row: &csv::StringRecord,
        new: &mut NewDomains,
    ) -> Result<CreateLink, Problem> {
        let cell = |column| header.cell(row, column).map(|cell| text(header.format, cell));
        let mut object = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        };
        let Name { domain, code } = name(header.format, &cell);
        if code.is_empty() {
            // The same file may come again.
            put("findIfExists", Some(true.into()));
        }
        put("customSlug", Some(code.into()));
        put("domain", Some(domain.into()));
        put("longUrl", cell(Column::LongUrl).map(Value::from));
        put("title", cell(Column::Title).map(|title| printable(header.format, title).into()));
        put("tags", cell(Column::Tags).map(|cell| tags::split(header.format, cell).into()));
        put("validSince", cell(Column::ValidSince).map(Value::from));
        put("validUntil", cell(Column::ValidUntil).map(Value::from));
        put("maxVisits", cell(Column::MaxVisits).map(number));
        put("crawlable", cell(Column::Crawlable).map(boolean));
        put("forwardQuery", cell(Column::ForwardQuery).map(boolean));
        put("redirectStatus", cell(Column::RedirectStatus).map(number));
        put("cacheLifetime", cell(Column::CacheLifetime).map(number));
        let mut request = read_creation(&self.app, object, None)?;
        // First, so that rules are of the domain that the link gets.
        domains::claim(&self.app, &self.access, new, &mut request)?;
        let mut wrong = Vec::new();
        let mut time = |column, name: &'static str| {
            cell(column).and_then(|text| past(text).map_err(|why| wrong.push((name, why.to_owned()))).ok())
        };
        let (created_at, visits_from) =
            (time(Column::CreatedAt, "createdAt"), time(Column::VisitsFrom, "visitsFrom"));
        if let Some(rules) = cell(Column::Rules) {
            let rules = serde_json::from_str::<Value>(rules).map_err(|_| "is no JSON".to_owned());
            match rules.and_then(|rules| read_rules(&self.app, &request.domain, Some(&rules))) {
                Ok(rules) => request.rules = rules,
                Err(why) => wrong.push(("redirectRules", why)),
            }
        }
        if !wrong.is_empty() {
            return Err(Problem::invalid(&wrong));
        }
        request.created_at = created_at;
        request.visits_from = created_at.and(self.counts_from(header.format, visits_from));
        new.add(&self.app, &request);
        Ok(request)
    }

    /// Since when the visits of a link with an earlier creation count: what was visited here before is another link's
    /// of this name, unless the file is from here, and whoever sends it may see all visits anyway.
    fn counts_from(&self, format: Format, visits_from: Option<UnixSeconds>) -> Option<UnixSeconds> {
        if format == Format::Hoplog && self.access.is_admin() { visits_from } else { Some(now()) }
    }
}

fn name<'a>(format: Format, cell: &impl Fn(Column) -> Option<&'a str>) -> Name {
    let path = cell(Column::Code).map(|code| decoded(format, code));
    let named = cell(Column::CustomUrl).or_else(|| cell(Column::ShortUrl)).map(short_url).unwrap_or_default();
    let code = path.unwrap_or(named.code);
    match format {
        Format::Yourls => Name { domain: String::new(), code: code.trim_matches('/').to_owned() },
        Format::Bitly if BITLY_HOSTS.contains(&&*named.domain) => Name { domain: String::new(), code },
        // The short URL has the port, too.
        _ if !named.domain.is_empty() => Name { domain: named.domain, code },
        _ => Name { domain: cell(Column::Domain).unwrap_or_default().to_owned(), code },
    }
}

/// Shlink's client gives the path as it is in the address; no code holds a `%`.
fn decoded(format: Format, code: &str) -> String {
    match format {
        Format::Shlink => percent_decode_str(code).decode_utf8_lossy().into_owned(),
        _ => code.to_owned(),
    }
}

/// The parts of a short URL, which Bitly gives without a scheme at times. What is none has none.
fn short_url(text: &str) -> Name {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    // The parser would take a host from behind a third slash.
    let Some(url) = Url::parse(&with_scheme).ok().filter(|_| !with_scheme.contains(":///")) else {
        return Name::default();
    };
    let code = percent_decode_str(url.path().trim_start_matches('/')).decode_utf8_lossy().into_owned();
    Name { domain: url.authority().to_owned(), code }
}

/// The text of a cell. Only who marks formulas as we do has marks to take off.
fn text(format: Format, cell: &str) -> &str {
    match format {
        Format::Hoplog | Format::Shlink => unguard(cell),
        Format::Yourls | Format::Bitly => cell,
    }
}

/// Titles that others took from pages may have line breaks.
fn printable(format: Format, title: &str) -> String {
    if format == Format::Hoplog { title.to_owned() } else { title.replace(['\r', '\n', '\t'], " ") }
}

/// What is none is left for the field to refuse.
fn number(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| text.into(), Value::from)
}

/// In the case that spreadsheets like better.
fn boolean(text: &str) -> Value {
    match &*text.to_ascii_lowercase() {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.into(),
    }
}

/// A time that is not to come: in RFC 3339, as MySQL has it (taken for UTC), or with an offset without a colon.
fn past(text: &str) -> Result<UnixSeconds, &'static str> {
    let plain = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let offset = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]"
    );
    let at = parse_date(text, false)
        .or_else(|why| {
            OffsetDateTime::parse(text, offset).map(OffsetDateTime::unix_timestamp).map_err(|_| why)
        })
        .or_else(|why| {
            PrimitiveDateTime::parse(text, plain).map(|at| at.assume_utc().unix_timestamp()).map_err(|_| why)
        })?;
    if at < 0 {
        Err("is before 1970")
    } else if at > now() + CLOCK_AHEAD_S {
        Err("is in the future")
    } else {
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_exports_have_them() {
        for (text, answer) in [
            ("1970-01-01T00:00:10+00:00", Ok(10)),
            ("1970-01-01T01:00:10+0100", Ok(10)),
            ("1970-01-01 00:00:10", Ok(10)),
            ("1970-01-02", Ok(86_400)),
            ("1969-12-31 23:59:59", Err("is before 1970")),
            ("2999-01-01", Err("is in the future")),
            ("1/2/2024", Err("is not a date in RFC 3339 format")),
        ] {
            assert_eq!(past(text), answer, "{text}");
        }
    }

    #[test]
    fn short_urls_are_taken_apart() {
        for (text, domain, code) in [
            ("https://s.example/a/b", "s.example", "a/b"),
            ("http://s.example:8080/%C3%A4", "s.example:8080", "ä"),
            ("bit.ly/abc", "bit.ly", "abc"),
            ("https://s.example", "s.example", ""),
            ("/abc", "", ""),
            ("", "", ""),
        ] {
            let name = short_url(text);
            assert_eq!((&*name.domain, &*name.code), (domain, code), "{text}");
        }
    }
}
