//! What became of the rows of an import, each and all together: the answer.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::columns::Header;
use crate::access::Access;
use crate::api::problem::Problem;
use crate::link::LinkRef;
use crate::links::CreateLink;
use crate::service::App;
use crate::store::StoreError;
use emitter::Hop;

/// What became of a row. With the short URL, where its code is known already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The link was made.
    Created(Option<String>),
    /// It was there, and leads to the same target.
    Unchanged(Option<String>),
    /// Another link has the name.
    Taken,
    /// An earlier try of the same request made or found it, and it was deleted since.
    Gone,
    /// It can be no link, or could be none when an earlier try of the same request was settled.
    Refused,
}

/// Links that are there already: their targets by domain and code. Out of reach of the key, nothing is said of them.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(String, String), Option<String>>);

impl Known {
    /// Those of these names that there are.
    pub(super) async fn of(
        app: &App,
        hop: &Hop,
        access: &Access,
        names: &[LinkRef<'_>],
    ) -> Result<Self, StoreError> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let found = app.links.find_many(hop, names).await?;
        let known = found.into_iter().map(|link| {
            let target = access.reaches(&link).then(|| link.target.clone());
            ((link.domain, link.code), target)
        });
        Ok(Self(known.collect()))
    }

    /// What that means for a link to be made; nothing where its name is free.
    pub(super) fn fate(&self, app: &App, request: &CreateLink) -> Option<Fate> {
        let name = LinkRef { domain: &request.domain, code: request.slug() };
        let target = self.0.get(&(request.domain.clone(), request.slug().to_owned()))?;
        Some(match target {
            Some(target) if target == request.target.as_str() => Fate::Unchanged(Some(app.short_url(name))),
            _ => Fate::Taken,
        })
    }
}

/// The answer, row by row.
#[derive(Debug, Default)]
pub(super) struct Results {
    rows: Vec<Value>,
    created: usize,
    unchanged: usize,
    taken: usize,
    invalid: usize,
    failed: usize,
}

impl Results {
    pub(super) fn created(&mut self, row: usize, short_url: Option<String>) {
        self.created += 1;
        self.push(row, 201, "created", short_url.map(|url| ("shortUrl", url.into())));
    }

    pub(super) fn unchanged(&mut self, row: usize, short_url: Option<String>) {
        self.unchanged += 1;
        self.push(row, 200, "unchanged", short_url.map(|url| ("shortUrl", url.into())));
    }

    pub(super) fn taken(&mut self, row: usize, problem: &Problem) {
        self.taken += 1;
        self.push(row, problem.status().as_u16(), "taken", Some(("problem", problem.document())));
    }

    pub(super) fn invalid(&mut self, row: usize, problem: &Problem) {
        self.invalid += 1;
        self.push(row, problem.status().as_u16(), "invalid", Some(("problem", problem.document())));
    }

    /// The store did not answer: nobody knows yet, or it was not tried.
    pub(super) fn failed(&mut self, row: usize) {
        self.failed += 1;
        self.push(row, 503, "failed", None);
    }

    fn push(&mut self, row: usize, status: u16, result: &'static str, more: Option<(&str, Value)>) {
        let mut document = Map::new();
        document.insert("row".to_owned(), row.into());
        document.insert("status".to_owned(), status.into());
        document.insert("result".to_owned(), result.into());
        document.extend(more.map(|(name, value)| (name.to_owned(), value)));
        self.rows.push(Value::Object(document));
    }

    /// All of it.
    pub(super) fn document(self, header: &Header, dry_run: bool) -> Value {
        json!({
            "format": header.format.name(),
            "dryRun": dry_run,
            "complete": self.failed == 0,
            "rows": self.rows.len(),
            "created": self.created,
            "unchanged": self.unchanged,
            "taken": self.taken,
            "invalid": self.invalid,
            "failed": self.failed,
            "notCarriedOver": header.dropped,
            "results": self.rows,
        })
    }
}
