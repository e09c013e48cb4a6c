//! What a call of the API is, by its method and route: what it counts for, and whether it is shed early.
//! It is known here and nowhere else; a route that is not named is an ordinary one.

use http::Method;

use crate::admission::Class;
use crate::limits::Calls;

/// The route of calls that make many links.
const BULK: &str = "/rest/v3/short-urls/bulk";

/// The route of imports and exports.
const CSV: &str = "/rest/v3/short-urls.csv";

/// The route that makes a link by an address alone: a GET that changes something.
pub(super) const SHORTEN: &str = "/rest/v3/short-urls/shorten";

/// Whether a call changes nothing.
pub(super) fn reads(method: &Method, route: &str) -> bool {
    method.is_safe() && !(route == SHORTEN && *method == Method::GET)
}

/// Which places a call may take.
pub(super) fn class(route: &str) -> Class {
    // Statistics are asked of ClickHouse, in whole scans.
    let statistics =
        ["/visits", "/stats"].iter().any(|end| route.ends_with(end)) || route.contains("/visits/");
    if statistics || route == BULK || route == CSV { Class::Bulk } else { Class::Api }
}

/// Which limit of its key a call counts for.
pub(super) fn calls(method: &Method, route: &str) -> Calls {
    if route == BULK || (route == CSV && !method.is_safe()) {
        Calls::Bulk
    } else if reads(method, route) {
        Calls::Read
    } else {
        Calls::Write
    }
}
