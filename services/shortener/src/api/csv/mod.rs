//! `/rest/v3/short-urls.csv`: links as a file, out and in, also as other shorteners have them.
//! What a link may be is decided where single ones are made; here are files, rows and cells.

mod cells;
mod columns;
mod export;
mod file;
mod foresight;
mod import;
mod results;
mod row;
mod tags;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::{ALLOW_COLLECTION, allow, refused_method};
use crate::service::App;
use emitter::Hop;

/// Not below `short-urls`, where it would hide a code.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route(
        "/rest/v3/short-urls.csv",
        get(export::export)
            .post(import::import)
            .options(|| async { allow(ALLOW_COLLECTION) })
            .fallback(async |hop: Hop| refused_method(&hop, ALLOW_COLLECTION)),
    )
}

/// Whose columns a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// Ours: all that is needed to make the same links again.
    Hoplog,
    /// What Shlink's web client exports.
    Shlink,
    /// The table of links of YOURLS, or what its export plugin makes of it.
    Yourls,
    /// What Bitly exports, whose columns differ from plan to plan.
    Bitly,
}

impl Format {
    const ALL: [Self; 4] = [Self::Hoplog, Self::Shlink, Self::Yourls, Self::Bitly];

    /// The name in requests and answers.
    fn name(self) -> &'static str {
        match self {
            Self::Hoplog => "hoplog",
            Self::Shlink => "shlink",
            Self::Yourls => "yourls",
            Self::Bitly => "bitly",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// A parameter of the query, the first of its name.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.find_map(|(given, value)| (given == name).then(|| value.into_owned()))
}
