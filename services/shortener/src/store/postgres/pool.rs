//! Connections to PostgreSQL: what each is told when it is made, how one is lent and to whom. Statements are not known here.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::{CloseEvent, PoolConnection};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{PoolUse, StoreError};
use crate::config::{PostgresConfig, SecretText};

/// Idle for longer than this, a connection is asked whether it still works before it is used: servers restart and firewalls
/// forget. One that was used just now is not, which saves a round trip for each statement under load.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Connections beyond those in use go after this, so that a peak does not hold on to the server's.
const IDLE_MAX: Duration = Duration::from_secs(300);

/// What a new connection is told.
fn options(url: &SecretText, config: &PostgresConfig) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(failed)?.application_name("hoplog");
    // PgBouncer refuses to be told this one, and since PostgreSQL 12 all digits are sent without it.
    let options = options.extra_float_digits(None);
    if !config.session_timeouts {
        return Ok(options);
    }
    let statement = config.statement_ms_max;
    Ok(options.options([
        ("statement_timeout", format!("{statement}ms")),
        // Before the statement's, so that the error says what it waited for.
        ("lock_timeout", format!("{}ms", (statement / 2).max(1))),
        // A transaction of ours never waits for anything but the server: who sleeps in one is gone.
        ("idle_in_transaction_session_timeout", format!("{statement}ms")),
    ]))
}

/// The connections to one server; they are made when they are needed.
#[derive(Debug)]
pub(super) struct Server {
    pool: PgPool,
    statement_max: Duration,
}

impl Server {
    pub(super) fn new(url: &SecretText, config: &PostgresConfig) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(config.connections_max)
            .acquire_timeout(Duration::from_millis(config.connect_ms_max))
            .idle_timeout(IDLE_MAX)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move { Ok(meta.idle_for < TRUSTED_IDLE || connection.ping().await.is_ok()) })
            })
            .connect_lazy_with(options(url, config)?);
        Ok(Self { pool, statement_max: Duration::from_millis(config.statement_ms_max) })
    }

    /// A connection, if need be one that the API has left.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        self.lent(None, self.statement_max).await
    }

    /// The same for a statement that tells the server itself to end it within another time.
    pub(super) async fn lend_for(&self, ends_within: Duration) -> Result<Lent, StoreError> {
        self.lent(None, ends_within).await
    }

    async fn lent(
        &self,
        place: Option<OwnedSemaphorePermit>,
        ends_within: Duration,
    ) -> Result<Lent, StoreError> {
        let connection = self.pool.acquire().await.map_err(failed)?;
        let closed = self.pool.close_event();
        Ok(Lent(Some(Work { connection, place, closed, ends_within })))
    }

    /// What a connection beside the pool is told.
    pub(super) fn connect_options(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// Ends as soon as the server is to be closed.
    pub(super) fn close_event(&self) -> CloseEvent {
        self.pool.close_event()
    }

    /// Waits for what is under way and closes all connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Its connections, whoever has them.
    pub(super) fn pool(&self, name: &'static str) -> PoolUse {
        PoolUse::of(name, &self.pool)
    }
}

/// The server that everything is written to, and the API reads from.
#[derive(Debug)]
pub(super) struct Primary {
    pub(super) server: Server,
    api: Share,
}

impl Primary {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, StoreError> {
        let wait_max = Duration::from_millis(config.connect_ms_max);
        let api = Share::of(config.connections_max, wait_max);
        Ok(Self { server: Server::new(&config.url, config)?, api })
    }

    /// A connection of the API's share.
    pub(super) async fn lend_to_api(&self) -> Result<Lent, StoreError> {
        let place = self.api.take().await?;
        self.server.lent(Some(place), self.server.statement_max).await
    }

    pub(super) fn pools(&self) -> [PoolUse; 2] {
        [self.server.pool("primary"), self.api.used()]
    }
}

/// The API's share of the connections to the primary, a half: however many slow lists and searches there are, a
/// visit finds one.
#[derive(Debug)]
struct Share {
    places: Arc<Semaphore>,
    all: u32,
    wait_max: Duration,
}

impl Share {
    fn of(connections_max: u32, wait_max: Duration) -> Self {
        let all = (connections_max / 2).max(1);
        Self {
            places: Arc::new(Semaphore::new(usize::try_from(all).unwrap_or(Semaphore::MAX_PERMITS))),
            all,
            wait_max,
        }
    }

    /// A place, as long as the permit lives.
    async fn take(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let place = tokio::time::timeout(self.wait_max, Arc::clone(&self.places).acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(StoreError::Busy)
    }

    /// How much of it is in use, as if it were a pool.
    fn used(&self) -> PoolUse {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX).min(self.all);
        PoolUse { name: "api", busy: self.all - free, idle: free, connections_max: self.all }
    }
}

/// A connection that goes back to its pool when the work is done. Dropped before that, because the deadline passed or the
/// client went, it is closed, and its place is taken until the server has ended its statement: nobody can tell the server to
/// give up, and if others were connected meanwhile, it would have ever more to do the slower it is.
pub(super) struct Lent(Option<Work>);

struct Work {
    connection: PoolConnection<Postgres>,
    /// In the API's share.
    place: Option<OwnedSemaphorePermit>,
    closed: CloseEvent,
    /// After this the server has ended the statement by itself, or is not there any more.
    ends_within: Duration,
}

impl Lent {
    pub(super) fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        let connection = self.0.as_mut().map(|work| &mut *work.connection);
        connection.ok_or_else(|| StoreError::Corrupt("a connection was given back twice".to_owned()))
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        runtime.spawn(work.end());
    }
}

impl Work {
    async fn end(mut self) {
        // It answers when it has done what it was asked before. Who closes the pool does not wait for that.
        let ended = tokio::time::timeout(self.ends_within, self.connection.ping());
        let _ = self.closed.do_until(ended).await;
        drop(self.connection.detach());
        drop(self.place);
    }
}

pub(super) async fn deadline<T>(
    ms: u64,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let timed = tokio::time::timeout(Duration::from_millis(ms), work).await;
    timed.unwrap_or(Err(StoreError::Timeout { ms }))
}

/// What PostgreSQL says when it fails is, but for values that can't be read or stored, a matter of time.
pub(super) fn failed(error: sqlx::Error) -> StoreError {
    /// SQLSTATE class of values that a type can't hold, such as a NUL in a text.
    const DATA: &str = "22";
    match &error {
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            StoreError::Corrupt(error.to_string())
        }
        sqlx::Error::Database(said) if said.code().is_some_and(|code| code.starts_with(DATA)) => {
            StoreError::Corrupt(error.to_string())
        }
        _ => StoreError::Unavailable(Box::new(error)),
    }
}
