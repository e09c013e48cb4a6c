//! The server: accepts connections, routes requests, and brings a request and a thread to run it together.

use crate::compress::BlockReader;
use crate::config::EngineConfig;
use crate::engine::{Engine, EngineError};
use crate::exception::{Exception, code};
use crate::http::encoding::Encoder;
use crate::http::request::Request;
use crate::http::response::{Reply, ReplyBody, Shape, Writer, common_headers, insert};
use crate::http::{body, multipart};
use crate::metrics::EngineMetrics;
use crate::query::Query;
use crate::session::Sessions;
use crate::users;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often a query whose client has left is told to stop, until it has.
const STOP_EVERY: Duration = Duration::from_millis(200);

/// A request's head: ClickHouse allows a megabyte of URL, hyper itself 64 KiB.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// How often idle sessions are looked for.
const SESSIONS_EVERY: Duration = Duration::from_secs(1);

struct Server {
    engine: Engine,
    config: EngineConfig,
    sessions: Sessions,
    metrics: EngineMetrics,
    slots: Arc<Semaphore>,
}

/// Opens the engine and serves it on `listener` until `shutdown` completes; then finishes what runs, up to
/// the configured deadline, and closes the engine, so that everything is on disk when this returns.
///
/// # Errors
/// The library or the data directory cannot be used, or the listener fails for good.
pub async fn serve(
    config: EngineConfig,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), EngineError> {
    let opening = config.clone();
    let engine = match tokio::task::spawn_blocking(move || Engine::open(&opening)).await {
        Ok(opened) => opened?,
        Err(_) => return Err(EngineError::Open(config.data_dir)),
    };
    tracing::info!(version = engine.version, "engine open");
    let server = Arc::new(Server {
        sessions: Sessions::new(config.sessions_max),
        slots: Arc::new(Semaphore::new(config.queries_max)),
        engine,
        config,
        metrics: EngineMetrics::default(),
    });
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(server.config.connections_max));
    let mut sweep = tokio::time::interval(SESSIONS_EVERY);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let permit = tokio::select! {
            () = &mut shutdown => break,
            _ = sweep.tick() => {
                let server = server.clone();
                tokio::task::spawn_blocking(move || server.sessions.drop_idle());
                continue;
            }
            permit = connections.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) if out_of_descriptors(&error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                // The client was gone before it was accepted.
                Err(_) => continue,
            },
        };
        connection(server.clone(), stream, permit, &graceful);
    }
    drop(listener);
    finish(&server, graceful).await;
    Ok(())
}

fn out_of_descriptors(error: &std::io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

fn connection(
    server: Arc<Server>,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    graceful: &hyper_util::server::graceful::GracefulShutdown,
) {
    // Answers are written in few large pieces; the last one must not wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    server.metrics.connections.inc();
    let idle = Duration::from_millis(server.config.idle_ms_max);
    let handler = server.clone();
    let service = hyper::service::service_fn(move |request| {
        let server = handler.clone();
        async move { Ok::<_, Infallible>(route(server, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        // A connection's failure is its client's: gone, silent, or not speaking HTTP.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
        server.metrics.connections.dec();
        drop(permit);
    });
}

async fn finish(server: &Arc<Server>, graceful: hyper_util::server::graceful::GracefulShutdown) {
    let deadline = Duration::from_millis(server.config.shutdown_ms_max);
    let whole = u32::try_from(server.config.queries_max).unwrap_or(u32::MAX);
    let ended = tokio::time::timeout(deadline, async {
        graceful.shutdown().await;
        // A query can outlive its connection.
        drop(server.slots.acquire_many(whole).await);
    });
    if ended.await.is_err() {
        tracing::warn!("requests still ran at the deadline of the shutdown");
    }
    let closing = server.clone();
    let closed = tokio::task::spawn_blocking(move || {
        closing.sessions.drop_all();
        closing.engine.close()
    });
    // Closing the last connection stops the engine. Whether the library then joins its threads as well, it says by
    // rules of its own (never once a table was made in this process), and nothing that was acknowledged hangs on it.
    tracing::info!(threads_joined = closed.await.unwrap_or(false), "engine closed");
}

async fn route(server: Arc<Server>, request: http::Request<Incoming>) -> Response<ReplyBody> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let plain = |status, text: &'static str| {
        let mut response = Response::new(ReplyBody::whole(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        insert(response.headers_mut(), "content-type", "text/html; charset=UTF-8");
        insert(response.headers_mut(), "x-clickhouse-server-display-name", &server.engine.host);
        response
    };
    let has_query = request.uri().query().is_some_and(|q| q.contains("query="));
    match (method, path.as_str()) {
        (Method::GET | Method::HEAD, "/ping" | "/replicas_status") => plain(StatusCode::OK, "Ok.\n"),
        (Method::GET, "/") if !has_query => plain(StatusCode::OK, "Ok.\n"),
        (Method::HEAD, "/") if !has_query => plain(StatusCode::OK, ""),
        (Method::GET, "/metrics") => metrics(&server),
        (Method::OPTIONS, _) => plain(StatusCode::NO_CONTENT, ""),
        (Method::GET | Method::HEAD | Method::POST, "/") => query(server, request).await,
        _ => plain(
            StatusCode::NOT_FOUND,
            "There is no handle for this path and method.\n\nUse / or /ping for health checks.\nOr /replicas_status.\n\nSend queries from your program with POST method or GET /?query=...\n",
        ),
    }
}

/// What is counted here, where ClickHouse's own Prometheus endpoint would be.
fn metrics(server: &Server) -> Response<ReplyBody> {
    let Ok(text) = server.metrics.text() else {
        return status_only(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(ReplyBody::whole(text.into()));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    insert(response.headers_mut(), "content-type", kind);
    response
}

fn status_only(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

/// A refusal before there is a thread to write it.
fn refusal(server: &Server, query_id: &str, exception: Exception) -> Response<ReplyBody> {
    server.metrics.finished("other", "refused");
    let exception = exception.versioned(&server.engine.version);
    let mut response = Response::new(ReplyBody::whole(format!("{}\n", exception.text).into()));
    *response.status_mut() = exception.status();
    *response.headers_mut() = common_headers(&server.engine, query_id);
    let headers = response.headers_mut();
    insert(headers, "content-type", "text/plain; charset=UTF-8");
    insert(headers, "x-clickhouse-exception-code", &exception.code.to_string());
    if exception.status() == StatusCode::UNAUTHORIZED {
        insert(headers, "www-authenticate", "Basic realm=\"ClickHouse server HTTP API\"");
    }
    response
}

async fn query(server: Arc<Server>, incoming: http::Request<Incoming>) -> Response<ReplyBody> {
    let (parts, incoming) = incoming.into_parts();
    let made = uuid::Uuid::new_v4().to_string();
    let request = match Request::read(&parts) {
        Ok(request) => request,
        Err(exception) => return refusal(&server, &made, exception),
    };
    let query_id = request.query_id.clone().filter(|id| !id.is_empty()).unwrap_or(made);
    let user = match users::authenticate(&server.config.users, &request.user, &request.password) {
        Ok(user) => user.clone(),
        Err(exception) if request.credentials => return refusal(&server, &query_id, exception),
        Err(exception) => {
            let required = Exception::new(code::REQUIRED_PASSWORD, "default: a password is required");
            let known = request.user == "default" && exception.code == code::AUTHENTICATION_FAILED.0;
            return refusal(&server, &query_id, if known { required } else { exception });
        }
    };
    let Ok(slot) = server.slots.clone().try_acquire_owned() else {
        let exception = Exception::new(
            code::TOO_MANY_SIMULTANEOUS_QUERIES,
            format_args!("Too many simultaneous queries. Maximum: {}", server.config.queries_max),
        );
        return refusal(&server, &query_id, exception);
    };
    let (frames, reader) = body::channel();
    let stall = Duration::from_millis(server.config.stall_ms_max);
    let counter = server.metrics.bytes_in.clone();
    let counted = move |bytes| {
        counter.inc_by(bytes);
    };
    tokio::spawn(body::forward(incoming, frames, stall, server.config.body_bytes_max, counted));

    let shape = shape(&server, &request, &query_id);
    let (writer, mut replies) = Writer::new(tokio::runtime::Handle::current(), shape);
    let stop = Arc::new(Stop::default());
    let job = Job { server: server.clone(), request, user, query_id: query_id.clone(), stop: stop.clone() };
    tokio::task::spawn_blocking(move || {
        job.run(reader, writer);
        drop(slot);
    });
    let guard = StopOnDrop { server: server.clone(), query_id: query_id.clone(), stop: Some(stop) };
    match replies.recv().await {
        Some(Reply::Head(status, headers)) => {
            let counter = server.metrics.bytes_out.clone();
            let sent = Box::new(move |bytes| {
                counter.inc_by(bytes);
            });
            let mut response = Response::new(ReplyBody::stream(replies, guard, sent));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
        // The thread panicked; the panic is on standard error.
        _ => refusal(&server, &query_id, Exception::new(code::STD_EXCEPTION, "The query's thread failed")),
    }
}

fn shape(server: &Server, request: &Request, query_id: &str) -> Shape {
    let http = (!request.compress).then_some(request.accepted).flatten();
    Shape {
        headers: common_headers(&server.engine, query_id),
        encoder: Encoder::new(request.compress, http),
        encoding: http.map(|encoding| encoding.name()),
        buffer_bytes: request.buffer_bytes,
        wait_end: request.wait_end.then_some(server.config.response_buffer_bytes_max),
        progress_headers: request.progress_headers,
        stall: Duration::from_millis(server.config.stall_ms_max),
        tag: uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(),
        version: server.engine.version.clone(),
    }
}

/// A request and what its thread needs.
struct Job {
    server: Arc<Server>,
    request: Request,
    user: users::User,
    query_id: String,
    stop: Arc<Stop>,
}

impl Job {
    /// Runs to the end of the answer.
    fn run(mut self, body: body::BodyReader, mut writer: Writer) {
        let metrics = self.server.metrics.clone();
        metrics.running.inc();
        let started = Instant::now();
        let mut kind = "other";
        let result = self.execute(Box::new(body), &mut writer, &mut kind);
        self.stop.ended.store(true, Ordering::SeqCst);
        metrics.running.dec();
        metrics.duration.observe(started.elapsed().as_secs_f64());
        metrics.rows_written.inc_by(writer.progress().rows_written);
        let gone = writer.client_is_gone();
        let outcome = match &result {
            _ if gone => "cancelled",
            Ok(()) => "ok",
            Err(_) => "failed",
        };
        metrics.finished(kind, outcome);
        let _gone = match result {
            Ok(()) => writer.finish(),
            Err(exception) => {
                let exception = exception.versioned(writer.version());
                writer.fail(&exception)
            }
        };
    }

    fn execute(
        &mut self,
        body: Box<dyn Read>,
        writer: &mut Writer,
        kind: &mut &'static str,
    ) -> Result<(), Exception> {
        let server = self.server.clone();
        let mut body = match self.request.body_encoding {
            Some(encoding) => encoding.decode(body),
            None => body,
        };
        if self.request.decompress {
            body = Box::new(BlockReader::new(body));
        }
        if let Some(boundary) = self.request.boundary.take() {
            let limit = server.config.query_text_bytes_max;
            let mut whole = Vec::new();
            let read = body.by_ref().take(limit as u64 + 1).read_to_end(&mut whole);
            read.map_err(|e| Exception::new(code::CANNOT_READ_ALL_DATA, e))?;
            if whole.len() > limit {
                let text = format!("The multipart body is larger than {limit} bytes");
                return Err(Exception::new(code::QUERY_IS_TOO_LARGE, text));
            }
            for (name, value) in multipart::fields(&whole, &boundary)? {
                self.request.take_field(&name, value)?;
            }
        }
        let running = server.engine.register(&self.query_id)?;
        self.stop.mark.store(running.mark, Ordering::SeqCst);
        let query = Query {
            engine: &server.engine,
            config: &server.config,
            request: &self.request,
            user: &self.user,
            stoppable: &self.stop.stoppable,
        };
        let text = query.read(&mut *body)?;
        *kind = text.kind();
        if self.stop.requested.load(Ordering::SeqCst) {
            return Err(Exception::new(code::ABORTED, "The client is gone"));
        }
        match &self.request.session {
            None => {
                let mut connection =
                    server.engine.connect(running.mark, &self.query_id, self.user.readonly)?;
                query.answer(text, &mut connection, &mut *body, writer)
            }
            Some(session) => {
                let mut taken = server.sessions.take(&self.user.name, session)?;
                let mut connection = match taken.connection.take() {
                    Some(connection) => connection,
                    None => server.engine.connect(running.mark, &self.query_id, self.user.readonly)?,
                };
                let result = query.answer_in_session(text, &mut connection, running.mark, &mut *body, writer);
                taken.connection = Some(connection);
                result
            }
        }
    }
}

/// How far a request has come, for the one who wants to stop it.
#[derive(Default)]
struct Stop {
    requested: AtomicBool,
    stoppable: AtomicBool,
    ended: AtomicBool,
    mark: std::sync::atomic::AtomicU64,
}

/// Stops a reading query when its client leaves. Inserts and changes of the schema run to their end, as in
/// ClickHouse: the client that has sent everything may have meant it.
pub(crate) struct StopOnDrop {
    server: Arc<Server>,
    query_id: String,
    stop: Option<Arc<Stop>>,
}

impl StopOnDrop {
    /// The answer is complete.
    pub(crate) fn disarm(mut self) {
        self.stop = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        stop.requested.store(true, Ordering::SeqCst);
        let server = self.server.clone();
        tracing::debug!(query_id = self.query_id, "client left before its answer was complete");
        // Again and again: the query may not have begun, and the engine forgets a kill of what is not there.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while !stop.ended.load(Ordering::SeqCst) {
                if stop.stoppable.load(Ordering::SeqCst) {
                    let (server, mark) = (server.clone(), stop.mark.load(Ordering::SeqCst));
                    let _ = tokio::task::spawn_blocking(move || server.engine.kill(mark)).await;
                }
                tokio::time::sleep(STOP_EVERY).await;
            }
        });
    }
}
