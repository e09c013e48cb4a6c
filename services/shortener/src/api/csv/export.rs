//! `GET /rest/v3/short-urls.csv`: all links of a list as one file, read page by page as the client takes it. Between two
//! pages an export holds nothing but its connection. One that can't go on breaks off, so that no client takes a part
//! for the whole.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};
use futures_util::stream::{self, StreamExt as _};
use http::{HeaderValue, StatusCode, Version, header};
use serde_json::Value;

use super::cells::guard;
use super::columns::{Column, HOPLOG, SHLINK};
use super::{Format, parameter, tags};
use crate::api::Caller;
use crate::api::names::other_domain;
use crate::api::problem::Problem;
use crate::api::short_urls::{date_text, list_of, read_list};
use crate::api::visits::totals;
use crate::link::{Cursor, Link, ListQuery};
use crate::service::App;
use crate::store::StoreError;
use emitter::Hop;

/// Links on a page: some tens of kilobytes, read in milliseconds. A client holds one page that it has not taken.
const PAGE_LINKS: u32 = 200;

/// Why an export ends before its end.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the export broke off: {0}")]
    Store(StoreError),
    #[error("the export broke off: a row could not be written")]
    Row(#[source] csv::Error),
}

pub(super) async fn export(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = caller.hop;
    if request.version() < Version::HTTP_11 {
        let mut response = Problem::http_1_0().answer(&hop);
        response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/1.1"));
        return response;
    }
    let query = request.uri().query();
    let format = match parameter(query, "format").as_deref() {
        None | Some("hoplog") => Format::Hoplog,
        Some("shlink") => Format::Shlink,
        Some(_) => {
            let why = "is neither hoplog nor shlink".to_owned();
            return Problem::invalid(&[("format", why)]).answer(&hop);
        }
    };
    let (asked, more) = match read_list(&app, &caller.access, query) {
        Ok(asked) => asked,
        Err(problem) => return problem.answer(&hop),
    };
    if asked.by_visits.is_some() {
        // They change meanwhile, and are not in the link store.
        let why = "can't be visits in an export".to_owned();
        return Problem::invalid(&[("orderBy", why)]).answer(&hop);
    }
    let query = ListQuery { after: None, count: false, offset: 0, limit: PAGE_LINKS, ..asked.query };
    let mut export = Export { app, hop, query, format, more };
    // Before the answer begins, so that it can still be another one.
    let first = match export.begin().await {
        Ok(first) => first,
        Err(ExportError::Store(error)) => return Problem::store(&export.hop, &error),
        Err(error @ ExportError::Row(_)) => {
            return Problem::unavailable(&export.hop, "export_failed", &error);
        }
    };
    let rest = stream::try_unfold(export, |mut export| async move {
        let page = if export.more { Some(export.page(lines()).await?) } else { None };
        Ok::<_, ExportError>(page.filter(|page| !page.is_empty()).map(|page| (page, export)))
    });
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(rest));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"short-urls.csv\""),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::OK, headers, body).into_response()
}

/// Writes lines of a file as RFC 4180 has them. All cells are quoted, so that none is split at the separator of another
/// country.
pub(super) fn lines() -> Writer<Vec<u8>> {
    WriterBuilder::new().quote_style(QuoteStyle::Always).terminator(Terminator::CRLF).from_writer(Vec::new())
}

struct Export {
    app: Arc<App>,
    hop: Hop,
    /// What comes next.
    query: ListQuery,
    format: Format,
    /// Whether something may.
    more: bool,
}

impl Export {
    /// The header and the first page.
    async fn begin(&mut self) -> Result<Bytes, ExportError> {
        let mut lines = lines();
        let names = self.columns().iter().map(|(name, _)| name);
        lines.write_record(names).map_err(ExportError::Row)?;
        if self.more { self.page(lines).await } else { written(lines) }
    }

    /// Adds the next page to some lines.
    async fn page(&mut self, mut lines: Writer<Vec<u8>>) -> Result<Bytes, ExportError> {
        let links = {
            // It is never closed. Whoever waits here holds nothing.
            let _turn = self.app.export_reads.acquire().await;
            self.app.links.list(&self.hop, &self.query).await.map_err(ExportError::Store)?.links
        };
        // A page that is not full is the last one.
        self.more = links.len() == self.query.limit as usize;
        self.query.after = links.last().map(|link| Cursor::at(self.query.order, link));
        let visits = match self.format {
            Format::Shlink => totals(&self.app, &links).await,
            _ => vec![None; links.len()],
        };
        for (link, visits) in links.iter().zip(visits) {
            let cells = self.columns().iter().map(|(_, column)| match column {
                Column::Dropped => visits.map(|visits| visits.to_string()).unwrap_or_default(),
                column => guard(&self.cell(link, *column)).into_owned(),
            });
            lines.write_record(cells).map_err(ExportError::Row)?;
        }
        written(lines)
    }

    fn columns(&self) -> &'static [(&'static str, Column)] {
        if self.format == Format::Shlink { &SHLINK } else { &HOPLOG }
    }

    fn cell<'a>(&self, link: &'a Link, column: Column) -> Cow<'a, str> {
        let settings = &link.settings;
        match column {
            Column::Code => link.code.as_str().into(),
            Column::ShortUrl => self.app.short_url(link.name()).into(),
            Column::Domain if self.format == Format::Shlink => {
                let default = self.app.base_url.host_str().unwrap_or_default();
                other_domain(&link.domain).map_or_else(|| default.to_owned().into(), Cow::from)
            }
            Column::Domain => other_domain(&link.domain).unwrap_or_default().into(),
            Column::LongUrl => link.target.as_str().into(),
            Column::Title => settings.title.as_deref().unwrap_or_default().into(),
            Column::Tags => tags::joined(self.format, settings.tags.iter().map(String::as_str)).into(),
            Column::ValidSince => settings.valid_since.map(date_text).unwrap_or_default().into(),
            Column::ValidUntil => settings.valid_until.map(date_text).unwrap_or_default().into(),
            Column::MaxVisits => number(settings.max_visits),
            Column::Crawlable => settings.crawlable.to_string().into(),
            Column::ForwardQuery => settings.forward_query.to_string().into(),
            Column::RedirectStatus => number(settings.redirect_status.map(u16::from)),
            Column::CacheLifetime => number(settings.cache_lifetime_s),
            Column::Rules if link.rules.is_empty() => Cow::default(),
            Column::Rules => Value::Array(list_of(&link.rules)).to_string().into(),
            Column::CreatedAt => date_text(link.created_at).into(),
            Column::VisitsFrom => link.visits_from.map(date_text).unwrap_or_default().into(),
            Column::CustomUrl | Column::Dropped => Cow::default(),
        }
    }
}

fn number<T: ToString>(number: Option<T>) -> Cow<'static, str> {
    number.map(|number| number.to_string()).unwrap_or_default().into()
}

fn written(lines: Writer<Vec<u8>>) -> Result<Bytes, ExportError> {
    let bytes = lines.into_inner().map_err(|error| ExportError::Row(error.into_error().into()))?;
    Ok(bytes.into())
}
