//! How clients name links and domains, and what that is in the store. Handlers take a [`LinkName`], or the link itself
//! as a [`Found`]; whether the key reaches it was asked before them.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::response::Response;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::codes;
use crate::domain::{AuthorityError, DEFAULT_DOMAIN, parse_authority};
use crate::link::{Link, LinkRef};
use crate::service::App;
use crate::target::host_of;
use emitter::Hop;

/// A link as a path and its query name it.
pub(super) struct LinkName {
    domain: String,
    code: String,
}

impl LinkName {
    /// Reads `/rest/v3/short-urls/{shortCode}` and what is below it.
    pub(super) fn read(app: &App, hop: &Hop, uri: &Uri) -> Result<Self, Problem> {
        let raw = uri.path().split('/').nth(4).unwrap_or_default();
        let code = percent_decode_str(raw).decode_utf8_lossy();
        let named = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .find_map(|(name, value)| (name == "domain").then_some(value))
            .unwrap_or_default();
        let Ok(domain) = domain(app, &named) else {
            return Err(Problem::short_url_not_found(&code, Some(&named)));
        };
        let name = Self { domain, code: code.into_owned() };
        if !codes::is_possible(&name.code, app.config.links.slug_bytes_max) {
            return Err(name.not_found());
        }
        hop.code(&name.code);
        Ok(name)
    }

    pub(super) fn link(&self) -> LinkRef<'_> {
        LinkRef { domain: &self.domain, code: &self.code }
    }

    pub(super) fn not_found(&self) -> Problem {
        Problem::short_url_not_found(&self.code, other_domain(&self.domain))
    }
}

impl FromRequestParts<Arc<App>> for LinkName {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Ok(hop) = Hop::from_request_parts(parts, app).await;
        Self::read(app, &hop, &parts.uri).map_err(|problem| problem.answer(&hop))
    }
}

/// The link that a path and its query name, as stored. The hop knows of it.
pub(super) struct Found(pub(super) Link);

impl FromRequestParts<Arc<App>> for Found {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let Ok(hop) = Hop::from_request_parts(parts, app).await;
        let name = LinkName::from_request_parts(parts, app).await?;
        let found = app.links.find(&hop, name.link()).await;
        let link = found.map_err(|error| Problem::store(&hop, &error))?;
        let link = link.ok_or_else(|| name.not_found().answer(&hop))?;
        tell(&hop, &link);
        Ok(Self(link))
    }
}

/// Tells the hop which link it is about.
pub(super) fn tell(hop: &Hop, link: &Link) {
    hop.code(&link.code);
    let target = url::Url::parse(&link.target).ok();
    let target_host = target.as_ref().map(host_of).unwrap_or_default();
    if let Some(domain) = other_domain(&link.domain) {
        hop.domain(domain);
    }
    hop.link(link.id.cast_unsigned(), link.version);
    hop.target_host(&target_host);
}

/// The name in the store of the domain that a client names. Nothing and `DEFAULT` are Shlink's names for the default
/// one; its own is as good.
pub(super) fn domain(app: &App, text: &str) -> Result<String, AuthorityError> {
    let default = app.base_url.authority();
    if text.is_empty() || text == "DEFAULT" || text.eq_ignore_ascii_case(default) {
        return Ok(DEFAULT_DOMAIN.to_owned());
    }
    let name = parse_authority(text)?;
    let is_default = parse_authority(default).is_ok_and(|default| default == name);
    Ok(if is_default { DEFAULT_DOMAIN.to_owned() } else { name })
}

/// The name of a domain where it is not the default one, as Shlink's documents have it.
pub(super) fn other_domain(domain: &str) -> Option<&str> {
    (domain != DEFAULT_DOMAIN).then_some(domain)
}
