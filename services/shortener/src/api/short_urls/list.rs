//! `GET /rest/v3/short-urls`: pages of links. What may be asked for is said by [`crate::api::query`].

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::json;

use super::by_visits;
use super::document::document;
use crate::api::problem::Problem;
use crate::api::visits::{put_counts, put_summaries};
use crate::api::{Caller, cursor, json, names, query};
use crate::link::Page;
use crate::service::App;

pub(in crate::api) async fn list(State(app): State<Arc<App>>, caller: Caller, uri: Uri) -> Response {
    let hop = &caller.hop;
    let mut request = match query::parse(uri.query()) {
        Ok(request) => request,
        Err(wrong) => return Problem::invalid(&wrong).answer(hop),
    };
    if let Some(domain) = &request.domain {
        match names::domain(&app, domain) {
            Ok(domain) => request.query.domain = Some(domain),
            Err(error) => return Problem::invalid(&[("domain", error.to_string())]).answer(hop),
        }
    }
    let reaches = caller.access.narrow_list(&mut request.query);
    let mut counts = None;
    let page = match request.by_visits {
        _ if !reaches => Page { links: Vec::new(), total: Some(0) },
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
                    "pagesCount": page.total.map(|total| total.div_ceil(per_page)),
                    "itemsPerPage": per_page,
                    "itemsInCurrentPage": page.links.len(),
                    "totalItems": page.total,
                    "nextCursor": last.map(|link| cursor::write(&request.query, link)),
                }
            }
        }),
    )
}
