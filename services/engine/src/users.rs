//! Who may ask: names, passwords, and whether a user only reads.
//!
//! The library knows one user, `default`. What a user may do is set on the connection that its request runs
//! on (see `engine`), so the engine itself enforces it; this module only says who it is.

use crate::exception::{Exception, code};
use serde::Deserialize;
use std::fmt;

/// A password that does not print itself.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Password(String);

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Password(empty)" } else { "Password(…)" })
    }
}

impl Password {
    /// Whether no password is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that does not depend on where the two differ.
    fn matches(&self, given: &str) -> bool {
        let (ours, theirs) = (self.0.as_bytes(), given.as_bytes());
        let mut difference = ours.len() ^ theirs.len();
        for (at, byte) in theirs.iter().enumerate() {
            difference |= usize::from(byte ^ ours.get(at).unwrap_or(&0));
        }
        difference == 0
    }
}

/// A user of the HTTP interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its password; empty (default): none is asked for. Set one before listening beyond loopback.
    #[serde(default)]
    pub password: Password,
    /// Only reads (default false). For analysts and dashboards.
    #[serde(default)]
    pub readonly: bool,
}

/// The user with this name and password; the same answer whichever is wrong.
pub(crate) fn authenticate<'u>(users: &'u [User], name: &str, password: &str) -> Result<&'u User, Exception> {
    let user = users.iter().find(|user| user.name == name);
    // An unknown name costs the same comparison.
    let stand_in = Password::from("no such user");
    let right = user.map_or(&stand_in, |user| &user.password).matches(password);
    match user {
        Some(user) if right => Ok(user),
        _ => Err(Exception::new(
            code::AUTHENTICATION_FAILED,
            format_args!(
                "{name}: Authentication failed: password is incorrect, or there is no user with such name"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_its_password_let_in() {
        let user = |name: &str, password: &str| User {
            name: name.into(),
            password: password.into(),
            readonly: false,
        };
        let users = [user("default", ""), user("analyst", "s3cret")];
        for (name, password, right) in [
            ("default", "", true),
            ("default", "x", false),
            ("analyst", "s3cret", true),
            ("analyst", "s3cre", false),
            ("analyst", "s3crets", false),
            ("analyst", "", false),
            ("nobody", "no such user", false),
        ] {
            assert_eq!(authenticate(&users, name, password).is_ok(), right, "{name} {password}");
        }
        assert!(!format!("{users:?}").contains("s3cret"));
    }
}
