//! The connection that commands go over: one, shared by all calls, made in the background and made again when it is lost.
//! Calls never wait for it: without a connection they fail at once.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, TlsCertificates, Value, cmd,
};
use tokio::sync::Notify;

use crate::config::RedisConfig;
use crate::shared::backoff::Backoff;

/// How often an idle connection is tried. A connection whose other end has vanished says nothing by itself.
pub(super) const PING_EVERY: Duration = Duration::from_secs(1);

/// How long it may take to answer: a Redis that is merely busy is not reconnected to.
pub(super) const PING_MAX: Duration = Duration::from_secs(3);

/// Tries of a command that a cluster has moved elsewhere. The call's deadline is the bound; each takes a round trip.
const CLUSTER_RETRIES: u32 = 3;

/// What `ROLE` says of a node that takes no changes.
const REPLICA: &[u8] = b"slave";

/// A connection; clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// The servers, and whom they have to be known by.
pub(super) struct Nodes {
    pub(super) urls: Vec<String>,
    ca_file: Option<PathBuf>,
}

impl Nodes {
    pub(super) fn new(config: &RedisConfig) -> Self {
        Self { urls: config.nodes().map(str::to_owned).collect(), ca_file: config.ca_file.clone() }
    }

    pub(super) async fn client(&self, url: &str) -> RedisResult<Client> {
        match self.certificates().await? {
            Some(certificates) => Client::build_with_tls(url, certificates),
            None => Client::open(url),
        }
    }

    /// Read for each connection: authorities are replaced, too.
    async fn certificates(&self) -> RedisResult<Option<TlsCertificates>> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(tokio::fs::read(file).await?) }))
    }
}

/// Keeps the connection.
pub(super) struct Connector {
    nodes: Nodes,
    cluster: bool,
    call_max: Duration,
    connect_max: Duration,
    current: RwLock<Option<Connection>>,
    broken: Notify,
    /// The node takes no changes: another one is behind the same address now, or will be.
    demoted: Notify,
    /// Is told when another one is found.
    moved: Arc<Notify>,
}

/// How a connection ended.
#[derive(PartialEq, Eq)]
enum End {
    Lost,
    Demoted,
}

impl Connector {
    /// `moved` is notified when changes go to another node than before.
    pub(super) fn new(config: &RedisConfig, moved: Arc<Notify>) -> Self {
        let nodes = Nodes::new(config);
        Self {
            cluster: config.cluster || nodes.urls.len() > 1,
            nodes,
            call_max: Duration::from_millis(config.call_ms_max),
            connect_max: Duration::from_millis(config.connect_ms_max),
            current: RwLock::default(),
            broken: Notify::new(),
            demoted: Notify::new(),
            moved,
        }
    }

    /// The connection, if there is one.
    pub(super) fn current(&self) -> Option<Connection> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes notice of an error: some say that the connection is no more, or that it leads to the wrong node. A cluster's
    /// looks after itself.
    pub(super) fn failed(&self, error: &RedisError) {
        if self.cluster {
            return;
        }
        if takes_no_changes(error) {
            self.demoted.notify_one();
        } else if error.is_unrecoverable_error() {
            self.broken.notify_one();
        }
    }

    /// Connects, and again whenever the connection is lost. Never ends.
    pub(super) async fn keep(&self) {
        let mut backoff = Backoff::default();
        let mut is_told = false;
        let mut ended = End::Lost;
        loop {
            match self.connect().await {
                Ok(connection) => {
                    // A node that was demoted may say again that it is: it is not asked more and more often.
                    if ended == End::Lost {
                        backoff.reset();
                    } else {
                        self.moved.notify_one();
                    }
                    is_told = false;
                    tracing::info!("connected to Redis");
                    self.set(Some(connection.clone()));
                    ended = self.until_broken(connection).await;
                    self.set(None);
                    tracing::warn!(demoted = ended == End::Demoted, "the connection to Redis is lost");
                }
                Err(error) if takes_no_changes(&error) => {
                    // Others are where this address will lead to; they may have announced changes there before we come.
                    ended = End::Demoted;
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%error, "Redis takes no changes; tried on, and said once");
                    }
                }
                // What a server says to a password that it refuses is not in the library's errors, and neither is the password.
                Err(error) if !std::mem::replace(&mut is_told, true) => {
                    tracing::warn!(%error, "Redis can't be reached; tried on, and said once");
                }
                Err(error) => tracing::debug!(%error, "Redis can't be reached"),
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    fn set(&self, connection: Option<Connection>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connect(&self) -> RedisResult<Connection> {
        if self.cluster {
            let mut client = ClusterClient::builder(self.nodes.urls.iter().map(String::as_str))
                .retries(CLUSTER_RETRIES)
                .connection_timeout(self.connect_max)
                .response_timeout(self.call_max);
            if let Some(certificates) = self.nodes.certificates().await? {
                client = client.certs(certificates);
            }
            return client.build()?.get_async_connection().await.map(Connection::Cluster);
        }
        let client = self.nodes.client(self.nodes.urls.first().map_or("", String::as_str)).await?;
        // The deadline of a call is kept by who calls; this one is for what the library asks by itself.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_max))
            .set_response_timeout(Some(PING_MAX));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        // Who may not ask is told when it changes something.
        match cmd("ROLE").query_async::<Vec<Value>>(&mut connection).await.as_deref() {
            Ok([Value::BulkString(role), ..]) if role == REPLICA => {
                Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "the node is a replica").into())
            }
            _ => Ok(Connection::One(connection)),
        }
    }

    async fn until_broken(&self, mut connection: Connection) -> End {
        loop {
            tokio::select! {
                // Looked at again: the word may be about the connection before this one.
                () = self.broken.notified() => {}
                // Should it be about the one before, too, a connection is made for nothing.
                () = self.demoted.notified() => return End::Demoted,
                () = tokio::time::sleep(PING_EVERY) => {}
            }
            // A cluster's connection finds lost nodes by itself, and a ping would ask all of them.
            if let Connection::One(connection) = &mut connection {
                let ping = cmd("PING");
                let pong = tokio::time::timeout(PING_MAX, ping.query_async::<Value>(connection)).await;
                if !matches!(pong, Ok(Ok(_))) {
                    return End::Lost;
                }
            }
        }
    }
}

/// Whether an error says that the node is no master, or not yet what it is to be: it answers, and goes on to. Redis before
/// version 7 says it of a command in a script within the text of another error.
fn takes_no_changes(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    matches!(error.kind(), ErrorKind::Server(ReadOnly | MasterDown | BusyLoading))
        || error.detail().is_some_and(|detail| detail.contains("-READONLY "))
}
