//! Sessions: connections that outlive a request under a `session_id`, with their settings, current database
//! and temporary tables. One request at a time each, bounded in number, dropped when idle for too long.

use crate::engine::lock;
use crate::exception::{Exception, code};
use crate::ffi::Connection;
use crate::http::request::SessionRequest;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

/// A session belongs to its user: another one's id opens another session.
type Key = (String, String);

/// The sessions of an engine.
pub(crate) struct Sessions {
    slots: Mutex<HashMap<Key, Slot>>,
    max: usize,
}

enum Slot {
    /// A request has it.
    Busy,
    Idle(Connection, Instant),
}

impl Sessions {
    pub(crate) fn new(max: usize) -> Self {
        Self { slots: Mutex::default(), max }
    }

    /// Takes a session for one request. Its connection is `None` when it is new.
    pub(crate) fn take(&self, user: &str, request: &SessionRequest) -> Result<Taken<'_>, Exception> {
        self.drop_idle();
        let key = (user.to_owned(), request.id.clone());
        let mut slots = lock(&self.slots);
        let known = slots.len();
        let connection = match slots.get_mut(&key) {
            Some(Slot::Busy) => {
                return Err(Exception::new(
                    code::SESSION_IS_LOCKED,
                    format_args!("Session {} is locked by a concurrent client", request.id),
                ));
            }
            Some(slot) => match std::mem::replace(slot, Slot::Busy) {
                Slot::Idle(connection, _) => Some(connection),
                Slot::Busy => None,
            },
            None if request.check => {
                return Err(Exception::new(
                    code::SESSION_NOT_FOUND,
                    format_args!("Session {} not found", request.id),
                ));
            }
            None if known >= self.max => {
                return Err(Exception::new(
                    code::TOO_MANY_SIMULTANEOUS_QUERIES,
                    format_args!("Too many sessions. Maximum: {}", self.max),
                ));
            }
            None => {
                slots.insert(key.clone(), Slot::Busy);
                None
            }
        };
        Ok(Taken { sessions: self, key, request: request.clone(), connection })
    }

    /// Drops what has been idle for its timeout.
    pub(crate) fn drop_idle(&self) {
        let now = Instant::now();
        let mut slots = lock(&self.slots);
        let expired = |slot: &Slot| matches!(slot, Slot::Idle(_, until) if *until <= now);
        let keys: Vec<Key> =
            slots.iter().filter(|(_, slot)| expired(slot)).map(|(key, _)| key.clone()).collect();
        let dropped: Vec<Slot> = keys.iter().filter_map(|key| slots.remove(key)).collect();
        // Closing a connection drops its temporary tables: not under the lock.
        drop(slots);
        drop(dropped);
    }

    /// Drops all that no request has.
    pub(crate) fn drop_all(&self) {
        let slots = std::mem::take(&mut *lock(&self.slots));
        drop(slots);
    }
}

/// A session while a request has it; goes back when dropped.
pub(crate) struct Taken<'s> {
    sessions: &'s Sessions,
    key: Key,
    request: SessionRequest,
    pub(crate) connection: Option<Connection>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut slots = lock(&self.sessions.slots);
        match self.connection.take() {
            Some(connection) => {
                let until = Instant::now() + self.request.timeout;
                slots.insert(self.key.clone(), Slot::Idle(connection, until));
            }
            None => drop(slots.remove(&self.key)),
        }
    }
}
