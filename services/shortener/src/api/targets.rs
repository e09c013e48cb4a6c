//! Where clients may have links and domains lead: [`crate::target`] with all that is known to be ours.
//! Nothing is resolved, so a name of ours that nobody has told us of is not seen.

use super::fields::{Fields, text};
use crate::domain::parse_authority;
use crate::service::App;
use crate::target::{self, Target, TargetError};

/// Checks and normalises a target of a link on `domain`, or of that domain's own redirects.
pub(super) fn parse(app: &App, domain: &str, text: &str) -> Result<Target, TargetError> {
    let target = target::parse(text, &app.target_policy)?;
    let url = url::Url::parse(target.as_str()).map_err(|_| TargetError::Invalid)?;
    if app.blocklist.blocks(&target::host_of(&url)) {
        return Err(TargetError::Blocked);
    }
    match parse_authority(url.authority()) {
        // The domain of a link that is being made may be no known one yet.
        Ok(authority) if authority == domain || app.domains.knows(&authority) => Err(TargetError::OwnHost),
        _ => Ok(target),
    }
}

/// The `longUrl` among some fields.
pub(super) fn long_url(app: &App, domain: &str, fields: &mut Fields) -> Option<Target> {
    let long_url = fields.optional("longUrl", text)?;
    parse(app, domain, &long_url).map_err(|error| fields.refuse("longUrl", error)).ok()
}
