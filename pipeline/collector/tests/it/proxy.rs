//! A TCP proxy before the engine that can do to an insert what networks do: lose it, or lose its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What happens to inserts into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends before the engine hears of it.
    LoseRequest,
    /// The engine does it, and the connection ends before the answer.
    LoseAnswer,
    /// An answer of a proxy that has no engine to ask.
    Unavailable,
    /// No answer, ever.
    Hang,
    /// An HTTP status, with a code of ClickHouse's exceptions where it is ClickHouse that answers.
    Answer(u16, Option<u32>),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    plan: Arc<Mutex<Option<(String, Fault, usize)>>>,
    hit: Arc<Notify>,
    hits: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap().to_string(), ..Self::default() };
        let own = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let own = own.clone();
                tokio::spawn(async move { own.serve(client).await });
            }
        });
        proxy
    }

    /// The next `times` inserts into the table meet the fault.
    pub(crate) fn plan(&self, table: &str, fault: Fault, times: usize) {
        self.hits.store(0, Ordering::Relaxed);
        *self.plan.lock().unwrap() = Some((format!("INSERT+INTO+{table}+"), fault, times));
    }

    /// Every request meets the fault, until [`Self::mend`].
    pub(crate) fn break_all(&self, fault: Fault) {
        self.hits.store(0, Ordering::Relaxed);
        *self.plan.lock().unwrap() = Some((String::new(), fault, usize::MAX));
    }

    /// No more faults.
    pub(crate) fn mend(&self) {
        *self.plan.lock().unwrap() = None;
    }

    /// How many requests have met the fault of the plan.
    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// Waits until a fault has happened.
    pub(crate) async fn hit(&self) {
        self.hit.notified().await;
    }

    /// How many faults are still to come.
    pub(crate) fn left(&self) -> usize {
        self.plan.lock().unwrap().as_ref().map_or(0, |(_, _, left)| *left)
    }

    fn fault_of(&self, bytes: &[u8]) -> Option<Fault> {
        let head = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        let mut plan = self.plan.lock().unwrap();
        let (table, fault, left) = plan.as_mut()?;
        let request = head.starts_with("POST ") || head.starts_with("GET ");
        if *left == 0 || !request || !head.contains(table.as_str()) {
            return None;
        }
        *left -= 1;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(*fault)
    }

    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(testbed::shared_engine_address()).await.ok()?;
        let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        let mut lose_answer = false;
        loop {
            tokio::select! {
                read = client.read(&mut request) => {
                    let bytes = &request[..read.ok().filter(|read| *read > 0)?];
                    match self.fault_of(bytes) {
                        None => (),
                        Some(Fault::LoseAnswer) => lose_answer = true,
                        Some(Fault::LoseRequest) => {
                            self.hit.notify_one();
                            return None;
                        }
                        Some(Fault::Unavailable) => {
                            self.hit.notify_one();
                            client.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok()?;
                            return None;
                        }
                        Some(Fault::Answer(status, code)) => {
                            self.hit.notify_one();
                            let (header, body) = code.map_or_else(
                                || (String::new(), "Internal Server Error".to_owned()),
                                |code| {
                                    let header = format!("X-ClickHouse-Exception-Code: {code}\r\n");
                                    (header, format!("Code: {code}. DB::Exception: as the test wants it."))
                                },
                            );
                            let length = body.len();
                            let answer = format!("HTTP/1.1 {status} X\r\n{header}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                            client.write_all(answer.as_bytes()).await.ok()?;
                            return None;
                        }
                        Some(Fault::Hang) => {
                            self.hit.notify_one();
                            std::future::pending::<()>().await;
                        }
                    }
                    server.write_all(bytes).await.ok()?;
                }
                read = server.read(&mut answer) => {
                    let bytes = &answer[..read.ok().filter(|read| *read > 0)?];
                    if lose_answer && bytes.starts_with(b"HTTP/1.1 200") {
                        self.hit.notify_one();
                        return None;
                    }
                    client.write_all(bytes).await.ok()?;
                }
            }
        }
    }
}
