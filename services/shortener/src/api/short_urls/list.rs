//! `GET /rest/v3/short-urls`: pages of links. What may be asked for is said by [`crate::api::query`].

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::json;

use super::by_visits;
use super::document::document;
use crate::access::Access;
use crate::api::problem::Problem;
use crate::api::query::ListRequest;
use crate::api::visits::{put_counts, put_summaries};
use crate::api::{Caller, cursor, json, names, numbers, query};
use crate::link::Page;
use crate::service::App;

pub(in crate::api) async fn list(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let (request, reaches_some) = match read_list(&app, &caller.access, uri.query()) {
        Ok(asked) => asked,
        Err(problem) => return problem.answer(hop),
    };
    let mut counts = None;
    let page = match request.by_visits {
        _ if !reaches_some => Page { links: Vec::new(), total: Some(0) },
        Some(order) => match by_visits::page(&app, &caller, &request, order).await {
            Ok((page, known)) => {
                counts = Some(known);
                page
            }
            Err(response) => return response,
        },
        None => match app.links.list(hop, &request.query).await {
            Ok(page) => page,
            Err(error) => return Problem::store(hop, &error),
        },
    };
    let per_page = u64::from(request.query.limit);
    // A page that is not full is the last one; counts change, so that no link marks a place among them.
    let last = page.links.last().filter(|_| page.links.len() as u64 == per_page && counts.is_none());
    let mut documents: Vec<_> = page.links.iter().map(|link| document(&app, link)).collect();
    match &counts {
        Some(counts) => put_counts(&page.links, &mut documents, counts),
        None => put_summaries(&app, &page.links, &mut documents).await,
    }
    json::answer(
        StatusCode::OK,
        &json!({
            "shortUrls": {
                "data": documents,
                "pagination": {
                    "currentPage": request.page,
                    "pagesCount": page.total.map(|total| numbers::pages(total, per_page)),
                    "itemsPerPage": per_page,
                    "itemsInCurrentPage": page.links.len(),
                    "totalItems": page.total,
                    "nextCursor": last.map(|link| cursor::write(&request.query, link)),
                }
            }
        }),
    )
}

/// The list that is asked for, narrowed to links in reach, and whether there can be any.
pub(in crate::api) fn read_list(
    app: &App,
    access: &Access,
    query: Option<&str>,
) -> Result<(ListRequest, bool), Problem> {
    let mut request = query::parse(query).map_err(|wrong| Problem::invalid(&wrong))?;
    if let Some(domain) = &request.domain {
        let named = names::domain(app, domain);
        let named = named.map_err(|error| Problem::invalid(&[("domain", error.to_string())]))?;
        request.query.domain = Some(named);
    }
    let reaches_some = access.narrow_list(&mut request.query);
    Ok((request, reaches_some))
}
