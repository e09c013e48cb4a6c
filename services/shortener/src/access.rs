//! What a key may do and which links it knows, by its roles. Whoever serves a key asks here; nothing is decided
//! anywhere else.
//! It knows neither routes nor answers: those are the API's.

use url::Url;

use crate::domain::parse_authority;
use crate::keys::{ApiKey, Role};
use crate::link::{Link, ListQuery};
use crate::links::CreateLink;
use crate::store::Selection;
use crate::target::TargetError;

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To make links.
    Create,
    /// To know some of the links, their tags or visits: what it gets is narrowed to those in its reach.
    Some,
    /// To know or change one link, which must be in its reach.
    One,
    /// To change tags, which are on links of all.
    Tags,
    /// To know or delete visits that belong to no link.
    Orphans,
    /// Anything else, and so everything.
    All,
}

/// Why a key may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A role of it forbids.
    Role,
    /// Only keys without roles may change tags.
    Tags,
}

/// What the owner of a key may do. Without a key, nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access(Option<ApiKey>);

impl Access {
    /// By the roles of `key`.
    pub fn of(key: ApiKey) -> Self {
        Self(Some(key))
    }

    /// Whose links it makes, see [`ApiKey::owner`].
    pub fn owner(&self) -> Option<&str> {
        self.0.as_ref().map(|key| &*key.owner)
    }

    /// Whether it may do everything.
    pub fn is_admin(&self) -> bool {
        self.0.as_ref().is_some_and(|key| key.roles.is_empty())
    }

    /// Whether it may, as far as that can be said without the links. `reads`: nothing changes.
    ///
    /// # Errors
    /// When a role of it forbids; all roles hold together.
    pub fn may(&self, need: Need, reads: bool) -> Result<(), Refusal> {
        if need == Need::Tags && !self.is_admin() {
            return Err(Refusal::Tags);
        }
        let allowed = self.0.is_some()
            && self.roles().iter().all(|role| match role {
                Role::CreateOnly => need == Need::Create,
                Role::ReadOnly => reads,
                Role::OwnLinks | Role::Domain { .. } => {
                    matches!(need, Need::Create | Need::Some | Need::One)
                }
                Role::NoOrphanVisits => need != Need::Orphans,
            });
        if allowed { Ok(()) } else { Err(Refusal::Role) }
    }

    /// Whether it knows visits that belong to no link.
    pub fn sees_orphans(&self) -> bool {
        self.may(Need::Orphans, true).is_ok()
    }

    /// Whether all links are in its reach.
    pub fn reaches_all(&self) -> bool {
        self.own_only().is_none() && self.domain().is_none()
    }

    /// Whether a link is in its reach. One that is not, is unknown to it.
    pub fn reaches(&self, link: &Link) -> bool {
        self.own_only().is_none_or(|owner| link.owner.as_deref() == Some(owner))
            && self.domain().is_none_or(|domain| link.domain == domain)
    }

    /// The only owner whose links it knows, if its reach ends there.
    pub fn own_only(&self) -> Option<&str> {
        // Who may only create has no business with links of others, which `findIfExists` would show.
        let own = self.roles().iter().any(|role| matches!(role, Role::OwnLinks | Role::CreateOnly));
        self.owner().filter(|_| own)
    }

    /// The only domain whose links it knows, if its reach ends there.
    pub fn domain(&self) -> Option<&str> {
        self.roles().iter().find_map(|role| match role {
            Role::Domain { domain } => Some(&**domain),
            _ => None,
        })
    }

    /// Whether it may make links on a domain that has none yet: whoever may do everything, and a key for that domain. From then
    /// on nobody's link may lead there, so a key that may only make links could take any host from all others.
    pub fn may_begin(&self, domain: &str) -> bool {
        self.domain() == Some(domain) || self.may(Need::All, false).is_ok()
    }

    /// Makes a creation one of this key: whose the link is, on the domain that the key is for, and what is found
    /// instead is in its reach.
    ///
    /// # Errors
    /// When the link would lead to that very domain, which may have no link yet and so be known to nobody.
    pub fn claim(&self, request: &mut CreateLink) -> Result<(), TargetError> {
        request.owner = self.owner().map(str::to_owned);
        if let Some(domain) = self.domain() {
            let leads_to = Url::parse(request.target.as_str()).map_err(|_| TargetError::Invalid)?;
            if parse_authority(leads_to.authority()).is_ok_and(|authority| authority == domain) {
                return Err(TargetError::OwnHost);
            }
            domain.clone_into(&mut request.domain);
        }
        if let Some(unless) = &mut request.unless {
            request.domain.clone_into(&mut unless.domain);
            unless.owner = self.own_only().map(str::to_owned);
        }
        Ok(())
    }

    /// Narrows a list to links in its reach; false when there can be none. As in Shlink, who does not reach all of them
    /// may name no key but its own, and another one counts for nothing: whose links others are, is not its to know.
    #[must_use]
    pub fn narrow_list(&self, query: &mut ListQuery) -> bool {
        if !self.reaches_all() {
            query.key_name =
                query.key_name.take().filter(|name| self.0.as_ref().is_some_and(|key| key.name == *name));
        }
        narrow(&mut query.owner, self.own_only()) && narrow(&mut query.domain, self.domain())
    }

    /// Narrows a selection to links in its reach; false when there can be none.
    #[must_use]
    pub fn narrow_selection(&self, selection: &mut Selection) -> bool {
        narrow(&mut selection.owner, self.own_only()) && narrow(&mut selection.domain, self.domain())
    }

    fn roles(&self) -> &[Role] {
        self.0.as_ref().map_or(&[], |key| &key.roles)
    }
}

fn narrow(asked: &mut Option<String>, only: Option<&str>) -> bool {
    let Some(only) = only else { return true };
    asked.get_or_insert_with(|| only.to_owned()) == only
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(roles: &[Role]) -> Access {
        Access::of(ApiKey {
            id: "k1".to_owned(),
            name: String::new(),
            owner: "k0".to_owned(),
            roles: roles.to_vec(),
            created_at: 0,
            expires_at: None,
            revoked_at: None,
        })
    }

    #[test]
    fn roles_hold_together() {
        let domain = || Role::Domain { domain: "s.example".to_owned() };
        let cases: &[(&[Role], Need, bool, bool)] = &[
            (&[], Need::All, false, true),
            (&[], Need::Tags, false, true),
            (&[Role::ReadOnly], Need::All, true, true),
            (&[Role::ReadOnly], Need::One, false, false),
            (&[Role::CreateOnly], Need::Create, false, true),
            (&[Role::CreateOnly], Need::Some, true, false),
            (&[Role::OwnLinks], Need::One, false, true),
            (&[Role::OwnLinks], Need::All, true, false),
            (&[Role::OwnLinks, Role::ReadOnly], Need::One, false, false),
            (&[Role::CreateOnly, Role::ReadOnly], Need::Create, false, false),
            (&[domain()], Need::Some, true, true),
            (&[domain()], Need::Orphans, true, false),
            (&[Role::NoOrphanVisits], Need::All, false, true),
            (&[Role::NoOrphanVisits], Need::Orphans, true, false),
            (&[Role::NoOrphanVisits], Need::Tags, false, false),
        ];
        for (roles, need, reads, allowed) in cases {
            assert_eq!(access(roles).may(*need, *reads).is_ok(), *allowed, "{roles:?} {need:?} {reads}");
        }
    }

    #[test]
    fn a_domain_is_begun_by_who_may_do_everything_and_by_its_own_keys() {
        let domain = || Role::Domain { domain: "s.example".to_owned() };
        let cases: &[(&[Role], bool)] = &[
            (&[], true),
            (&[Role::NoOrphanVisits], true),
            (&[domain()], true),
            (&[domain(), Role::CreateOnly], true),
            (&[Role::Domain { domain: "t.example".to_owned() }], false),
            (&[Role::CreateOnly], false),
            (&[Role::OwnLinks], false),
            (&[Role::ReadOnly], false),
        ];
        for (roles, may) in cases {
            assert_eq!(access(roles).may_begin("s.example"), *may, "{roles:?}");
        }
        assert!(!Access::default().may_begin("s.example"), "without a key, nothing");
    }

    #[test]
    fn what_is_asked_for_is_narrowed_and_never_widened() {
        let key = access(&[Role::OwnLinks, Role::Domain { domain: "s.example".to_owned() }]);
        let mut selection = Selection { tag: Some("x".to_owned()), ..Selection::default() };
        assert!(key.narrow_selection(&mut selection));
        assert_eq!(selection.owner.as_deref(), Some("k0"));
        assert_eq!((selection.domain.as_deref(), selection.tag.as_deref()), (Some("s.example"), Some("x")));
        let mut other = Selection { domain: Some("t.example".to_owned()), ..Selection::default() };
        assert!(!key.narrow_selection(&mut other));
        let mut all = Selection::default();
        assert!(access(&[Role::ReadOnly]).narrow_selection(&mut all));
        assert_eq!(all, Selection::default());
        assert!(Access::default().may(Need::Some, true).is_err(), "without a key, nothing");
    }
}
