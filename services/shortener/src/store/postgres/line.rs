//! A connection of its own to a server, on which it is asked where it is in the log: it answers also when others have all
//! of the pool's, and tells a server that is not there from one that is slow, which a pool does not.
//! What follows from the answer is not known here.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, FromRow, PgConnection};

use super::pool::Server;

/// Which database cluster it is: a replica has its primary's number, also after it was promoted.
const SYSTEM: &str = "SELECT system_identifier FROM pg_control_system()";

/// How far a replica has taken over the primary's log, and how far a primary's own is on the disk: a replica gets no more.
const LOG: &str = "SELECT pg_is_in_recovery() AS replays, pg_wal_lsn_diff(
     CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END, '0/0')::bigint AS position";

/// SQLSTATEs of servers that don't have these functions, or not for us: not supported, unknown, forbidden.
const NOT_TOLD: [&str; 3] = ["0A000", "42883", "42501"];

/// SQLSTATE of a server that starts or stops: nobody can write to it.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// What a server says of itself; nothing where it can't.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Answer {
    /// Which cluster it is.
    pub(super) system: Option<i64>,
    pub(super) log: Option<Log>,
}

/// Where a server is in the log.
#[derive(Debug, Clone, Copy, PartialEq, FromRow)]
pub(super) struct Log {
    /// It takes over another's, as opposed to writing its own.
    pub(super) replays: bool,
    pub(super) position: Option<i64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Silence {
    /// Nobody can reach it, as far as is known: it refuses connections.
    Away,
    /// It is slow or full, or refuses us: it may work for others.
    Slow,
}

/// The connection; made when it is needed.
#[derive(Debug)]
pub(super) struct Line {
    options: Arc<PgConnectOptions>,
    connection: Option<PgConnection>,
}

impl Line {
    pub(super) fn to(server: &Server) -> Self {
        Self { options: server.connect_options(), connection: None }
    }

    /// Asks it within `answer_max`, connecting included.
    pub(super) async fn ask(&mut self, answer_max: Duration) -> Result<Answer, Silence> {
        let answer = tokio::time::timeout(answer_max, self.asked()).await;
        answer.unwrap_or(Err(Silence::Slow))
    }

    /// A connection on which that fails, or that is given up meanwhile, is closed.
    async fn asked(&mut self) -> Result<Answer, Silence> {
        // One that broke says nothing of the server, which may have restarted.
        if let Some(mut connection) = self.connection.take()
            && let Ok(answer) = answer(&mut connection).await
        {
            self.connection = Some(connection);
            return Ok(answer);
        }
        let mut connection =
            PgConnection::connect_with(&self.options).await.map_err(|error| Silence::of(&error))?;
        let answer = answer(&mut connection).await.map_err(|_| Silence::Slow)?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

impl Silence {
    /// After it could not be connected to.
    fn of(error: &sqlx::Error) -> Self {
        let is_away = match error {
            sqlx::Error::Io(error) => error.kind() != ErrorKind::TimedOut,
            sqlx::Error::Database(said) => said.code().is_some_and(|code| code == CANNOT_CONNECT_NOW),
            _ => false,
        };
        if is_away { Self::Away } else { Self::Slow }
    }
}

async fn answer(connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
    let system = told(sqlx::query_scalar(SYSTEM).fetch_one(&mut *connection).await)?;
    let log = told(sqlx::query_as(LOG).fetch_one(connection).await)?;
    Ok(Answer { system, log })
}

fn told<T>(answer: Result<T, sqlx::Error>) -> Result<Option<T>, sqlx::Error> {
    match answer {
        Err(sqlx::Error::Database(said)) if said.code().is_some_and(|code| NOT_TOLD.contains(&&*code)) => {
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_is_away_and_one_that_takes_its_time_is_slow() {
        let io = |kind: ErrorKind| sqlx::Error::Io(kind.into());
        for (error, silence) in [
            (io(ErrorKind::ConnectionRefused), Silence::Away),
            (io(ErrorKind::ConnectionReset), Silence::Away),
            (io(ErrorKind::TimedOut), Silence::Slow),
            (sqlx::Error::PoolTimedOut, Silence::Slow),
        ] {
            assert_eq!(Silence::of(&error), silence, "{error}");
        }
    }
}
