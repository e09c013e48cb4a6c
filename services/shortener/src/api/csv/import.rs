//! `POST /rest/v3/short-urls.csv`: many links out of a file, chunk by chunk, each in one transaction, with a result for
//! each row. The same file can be sent again: what is there already stays as it is, and nothing is made twice. With an
//! `Idempotency-Key` each chunk happens once, and says again what it said.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use super::file::{File, Numbered};
use super::foresight::Foresight;
use super::results::{Fate, Known, Results};
use super::row::RowReader;
use super::{Format, parameter};
use crate::access::Access;
use crate::api::bulk::ITEMS_MAX;
use crate::api::domains::NewDomains;
use crate::api::names::other_domain;
use crate::api::problem::Problem;
use crate::api::short_urls::refused;
use crate::api::{Caller, idempotency, json};
use crate::link::LinkRef;
use crate::links::{CreateError, CreateLink, Made, Once, Outcome};
use crate::service::App;
use emitter::Hop;

pub(super) async fn import(State(app): State<Arc<App>>, caller: Caller, request: Request) -> Response {
    let hop = caller.hop.clone();
    let (mut file, once, dry_run) = match opened(&app, &caller, request).await {
        Ok(opened) => opened,
        Err(problem) => return problem.answer(&hop),
    };
    let reader = RowReader { app: Arc::clone(&app), access: caller.access.clone() };
    let mut import = Import {
        app,
        hop,
        access: caller.access,
        foresight: dry_run.then(Foresight::default),
        once,
        replayed: false,
        wrote: false,
        new: NewDomains::default(),
        results: Results::default(),
        failed: false,
    };
    for part in 0.. {
        let rows = match file.next(ITEMS_MAX) {
            Ok(rows) if rows.is_empty() => break,
            Ok(rows) => rows,
            Err(problem) => return problem.answer(&import.hop),
        };
        if let Err(response) = import.chunk(&file, &reader, &rows, part).await {
            return response;
        }
    }
    let answer = json::answer(StatusCode::OK, &import.results.document(&file.header, dry_run));
    idempotency::mark(answer, import.replayed && !import.wrote)
}

/// The file, what makes its import happen once, and whether nothing is to be written: then nothing happens anyway.
async fn opened(app: &App, caller: &Caller, request: Request) -> Result<(File, Option<Once>, bool), Problem> {
    let (format, dry_run) = asked(request.uri().query(), request.headers())?;
    let headers = request.headers().clone();
    let api = &app.config.api;
    let body = json::read(request.into_body(), &app.config.limits, api.import_body_bytes_max).await?;
    let what = format.map_or("csv", Format::name);
    let once = idempotency::once_of_bytes(&headers, caller.key.as_ref(), what, &body)?;
    let file = File::open(body, format, api.import_rows_max).await?;
    Ok((file, once.filter(|_| !dry_run), dry_run))
}

/// The format, where it is named, and whether nothing is to be written.
fn asked(query: Option<&str>, headers: &HeaderMap) -> Result<(Option<Format>, bool), Problem> {
    let mut wrong = Vec::new();
    let format = parameter(query, "format");
    let format = format.and_then(|name| {
        let format = Format::named(&name);
        if format.is_none() {
            wrong.push(("format", "is none of hoplog, shlink, yourls, bitly".to_owned()));
        }
        format
    });
    let dry_run = match parameter(query, "dryRun").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            wrong.push(("dryRun", "is neither true nor false".to_owned()));
            false
        }
    };
    if !wrong.is_empty() {
        return Err(Problem::invalid(&wrong));
    }
    if is_csv(headers) { Ok((format, dry_run)) } else { Err(Problem::media_type()) }
}

/// Whether it is said to be CSV in UTF-8. That it is in UTF-8 is looked at anyway.
fn is_csv(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str()) else { return false };
    let mut parts = kind.split(';').map(str::trim);
    let is_csv = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/csv"));
    is_csv
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            let value = value.trim_matches('"').to_ascii_lowercase();
            !name.eq_ignore_ascii_case("charset") || matches!(&*value, "utf-8" | "utf8" | "us-ascii")
        })
}

struct Import {
    app: Arc<App>,
    hop: Hop,
    access: Access,
    /// When nothing is to be written.
    foresight: Option<Foresight>,
    once: Option<Once>,
    /// An earlier try of the same request has written a chunk.
    replayed: bool,
    /// This one has.
    wrote: bool,
    /// Domains that rows begin which are not written yet.
    new: NewDomains,
    results: Results,
    /// The store did not answer; what comes is not tried.
    failed: bool,
}

impl Import {
    /// Takes rows in. An error is the answer to the whole call: nothing was made, or nothing was to be.
    async fn chunk(
        &mut self,
        file: &File,
        reader: &RowReader,
        rows: &[Numbered],
        part: usize,
    ) -> Result<(), Response> {
        if self.failed {
            rows.iter().for_each(|(row, _)| self.results.failed(*row));
            return Ok(());
        }
        let read = rows.iter().map(|(_, row)| reader.read(&file.header, row, &mut self.new));
        let read: Vec<_> = read.collect();
        // Those that can be made go together, the others keep their places.
        let requests: Vec<Option<&CreateLink>> = read.iter().map(|row| row.as_ref().ok()).collect();
        let fates = match self.fates(&requests, part).await {
            Ok(fates) => fates,
            Err(error) => {
                let response = refused(&self.hop, error);
                if self.foresight.is_some() || !self.wrote {
                    return Err(response);
                }
                self.failed = true;
                rows.iter().for_each(|(row, _)| self.results.failed(*row));
                return Ok(());
            }
        };
        let mut free = self.suggestions(&requests, &fates).await.into_iter();
        for (((row, _), read), fate) in rows.iter().zip(&read).zip(fates) {
            match (fate, read) {
                (Fate::Created(url), _) => self.results.created(*row, url),
                (Fate::Unchanged(url), _) => self.results.unchanged(*row, url),
                (Fate::Gone, _) => self.results.invalid(*row, &Problem::deleted_since()),
                (Fate::Taken | Fate::Refused, Err(problem)) => self.results.invalid(*row, problem),
                (Fate::Refused, Ok(_)) => self.results.invalid(*row, &Problem::invalid_before()),
                (Fate::Taken, Ok(request)) => {
                    let free = free.next().unwrap_or_default();
                    let domain = other_domain(&request.domain);
                    self.results.taken(*row, &Problem::slug_taken(request.slug(), domain, &free));
                }
            }
        }
        Ok(())
    }

    /// What becomes of rows, each in its place.
    async fn fates(
        &mut self,
        requests: &[Option<&CreateLink>],
        part: usize,
    ) -> Result<Vec<Fate>, CreateError> {
        if let Some(foresight) = &mut self.foresight {
            let fates = foresight.fates(&self.app, &self.hop, &self.access, requests).await;
            return fates.map_err(CreateError::Store);
        }
        // That none could be made is settled, too.
        if self.once.is_none() && requests.iter().all(Option::is_none) {
            return Ok(vec![Fate::Refused; requests.len()]);
        }
        let once = self.once.as_ref().map(|once| once.part(part));
        let items = requests.iter().map(|request| request.cloned()).collect();
        let Outcome { all: made, replayed } = self.app.create(&self.hop, items, once).await?;
        (self.replayed, self.wrote) = (self.replayed || replayed, self.wrote || !replayed);
        self.new = NewDomains::default();
        let taken = requests.iter().zip(&made).filter(|(_, made)| **made == Made::Taken);
        let taken = taken.filter_map(|(request, _)| *request);
        let names: Vec<_> =
            taken.map(|request| LinkRef { domain: &request.domain, code: request.slug() }).collect();
        let known = Known::of(&self.app, &self.hop, &self.access, &names).await;
        let known = known.map_err(CreateError::Store)?;
        let fate = |(request, made): (&Option<&CreateLink>, Made)| match made {
            Made::New(link) => Fate::Created(Some(self.app.short_url(link.name()))),
            Made::Found(link) => Fate::Unchanged(Some(self.app.short_url(link.name()))),
            Made::Gone => Fate::Gone,
            Made::Refused => Fate::Refused,
            Made::Taken => request.and_then(|request| known.fate(&self.app, request)).unwrap_or(Fate::Taken),
        };
        Ok(requests.iter().zip(made).map(fate).collect())
    }

    /// Free slugs for those that are taken, in their order.
    async fn suggestions(&self, requests: &[Option<&CreateLink>], fates: &[Fate]) -> Vec<Vec<String>> {
        let taken = requests.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Taken);
        let asked: Vec<_> = taken.filter_map(|(request, _)| *request).collect();
        self.app.links.suggestions(&self.hop, &asked, self.app.config.links.slug_bytes_max).await
    }
}
