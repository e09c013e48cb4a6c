//! Which visits a path means, as far as the key reaches: those of a link, of a tag's links, of a domain, of all links.
//! How many there are is not asked here.

use axum::response::Response;
use http::Uri;
use percent_encoding::percent_decode_str;

use super::fields::tag;
use super::names;
use super::problem::Problem;
use crate::access::Access;
use crate::domain::{AuthorityError, DEFAULT_DOMAIN};
use crate::link::Link;
use crate::service::App;
use crate::statistics::{OrphanKind, Scope};
use crate::store::{Counted, Selection};
use emitter::Hop;

/// What is meant.
pub(super) struct Named {
    pub(super) scope: Scope,
    /// Whether there are more links than one question may be about.
    pub(super) cut: bool,
}

impl Named {
    fn is_empty(&self) -> bool {
        matches!(&self.scope, Scope::Links(links) if links.is_empty())
    }
}

impl Default for Named {
    /// No visits.
    fn default() -> Self {
        Self { scope: Scope::Links([].into()), cut: false }
    }
}

/// Visits of all links.
pub(super) async fn of_all(app: &App, hop: &Hop, access: &Access) -> Result<Named, Response> {
    if access.reaches_all() {
        return of_clicks(app, hop, None).await;
    }
    of_selection(app, hop, access, Selection::default()).await.map(Option::unwrap_or_default)
}

/// `/rest/v3/visits/non-orphan`: visits of all links, or of those of the domain in the query.
pub(super) async fn of_links(app: &App, hop: &Hop, access: &Access, uri: &Uri) -> Result<Named, Response> {
    let of = match asked_domain(app, uri) {
        None => return of_all(app, hop, access).await,
        Some(Err(_)) => return Ok(Named::default()),
        Some(Ok(domain)) => Selection { domain: Some(domain), ..Selection::default() },
    };
    of_selection(app, hop, access, of).await.map(Option::unwrap_or_default)
}

/// `/rest/v3/visits/orphan`: visits that reached no link, of the domain in the query where there is one.
pub(super) fn of_orphans(app: &App, uri: &Uri, kind: Option<OrphanKind>) -> Named {
    match asked_domain(app, uri).transpose() {
        Ok(domain) => Named { scope: Scope::Orphans { domain, kind }, cut: false },
        Err(_) => Named::default(),
    }
}

/// Visits of a link, which is known to be in reach.
pub(super) fn of_link(link: Link) -> Named {
    let from = link.counts_from();
    let counted = Counted { domain: link.domain, code: link.code, from };
    Named { scope: Scope::Links([counted].into()), cut: false }
}

/// `/rest/v3/tags/{tag}/…`, of the domain in the query where there is one. A tag without links is unknown.
pub(super) async fn of_tag(app: &App, hop: &Hop, access: &Access, uri: &Uri) -> Result<Named, Response> {
    let name = tag(&segment(uri));
    let mut of = Selection { tag: Some(name.clone()), ..Selection::default() };
    let named = of_selection(app, hop, access, of.clone()).await?;
    let named = named.filter(|named| !named.is_empty());
    let named = named.ok_or_else(|| Problem::tag_not_found(&name).answer(hop))?;
    match asked_domain(app, uri) {
        None => return Ok(named),
        Some(Err(_)) => return Ok(Named::default()),
        Some(Ok(domain)) => of.domain = Some(domain),
    }
    of_selection(app, hop, access, of).await.map(Option::unwrap_or_default)
}

/// `/rest/v3/domains/{domain}/…`.
pub(super) async fn of_domain(app: &App, hop: &Hop, access: &Access, uri: &Uri) -> Result<Named, Response> {
    let text = segment(uri);
    let unknown = || Problem::domain_not_found(&text).answer(hop);
    let domain = names::domain(app, &text).map_err(|_| unknown())?;
    if domain != DEFAULT_DOMAIN {
        let known = app.links.domains(hop).await.map_err(|error| Problem::store(hop, &error))?;
        if !known.iter().any(|known| known.authority == domain) {
            return Err(unknown());
        }
    }
    let of = Selection { domain: Some(domain), ..Selection::default() };
    of_selection(app, hop, access, of).await?.ok_or_else(unknown)
}

/// Nothing where nothing of it can be in reach.
async fn of_selection(
    app: &App,
    hop: &Hop,
    access: &Access,
    mut of: Selection,
) -> Result<Option<Named>, Response> {
    if !access.narrow_selection(&mut of) {
        return Ok(None);
    }
    if let Selection { tag: None, owner: None, domain: Some(domain) } = of {
        return of_clicks(app, hop, Some(domain)).await.map(Some);
    }
    let limit = app.config.statistics.links_max;
    // One more than is used tells whether there are more.
    let found = app.links.names(hop, &of, limit + 1).await.map_err(|error| Problem::store(hop, &error))?;
    let cut = found.len() > limit as usize;
    let links: Vec<Counted> = found.into_iter().take(limit as usize).collect();
    Ok(Some(Named { scope: Scope::Links(links.into()), cut }))
}

/// All clicks, or those of a domain, without what was deleted of links.
async fn of_clicks(app: &App, hop: &Hop, domain: Option<String>) -> Result<Named, Response> {
    let limit = app.config.statistics.links_max;
    let deleted = app.links.deleted_visits(hop, domain.as_deref(), limit + 1).await;
    let deleted = deleted.map_err(|error| Problem::store(hop, &error))?;
    let cut = deleted.len() > limit as usize;
    let deleted = deleted.into_iter().take(limit as usize).collect();
    Ok(Named { scope: Scope::Clicks { domain, deleted }, cut })
}

/// The domain in a query, where there is one. What can't be a domain has no visits, and is no error, as in Shlink.
fn asked_domain(app: &App, uri: &Uri) -> Option<Result<String, AuthorityError>> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
        .find_map(|(name, value)| (name == "domain").then(|| names::domain(app, &value)))
}

/// The fourth segment of a path.
fn segment(uri: &Uri) -> String {
    let raw = uri.path().split('/').nth(4).unwrap_or_default();
    percent_decode_str(raw).decode_utf8_lossy().into_owned()
}
