//! Numbers survive the death of the process that gave them out, and the next one tells.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use emitter::EmitterConfig;
use event_log::Schema;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::http::{read_until, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

const DIRECTORY: &str = "EMITTER_TEST_SEQUENCE_DIR";

fn config(directory: &Path) -> EmitterConfig {
    EmitterConfig { sequence_dir: Some(directory.to_owned()), ..quick() }
}

/// Not a test: what the child process runs, until it is killed. Its log is down all the time.
#[test]
#[ignore = "is the child process of another test"]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = FakeLog::new();
        log.set_down(true);
        let (emitter, _publisher) = start(config(Path::new(&directory)), log);
        println!("\nlistening {} {}", serve(&emitter).await, emitter.boot_id());
        std::future::pending::<()>().await;
    });
}

fn spawn_child(directory: &Path) -> (Child, SocketAddr, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with("listening ")).unwrap();
    let mut words = line.split(' ').skip(1);
    let address = words.next().unwrap().parse().unwrap();
    (child, address, words.next().unwrap().to_owned())
}

/// Requests on one connection until it breaks; counts those sent and those answered completely.
async fn client(address: SocketAddr, sent: Arc<AtomicU64>, answered: Arc<AtomicU64>) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    loop {
        sent.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(b"GET /end/shed HTTP/1.1\r\nhost: x\r\n\r\n").await.is_err() {
            return;
        }
        let whole = tokio::spawn(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            stream
        });
        match whole.await {
            Ok(back) => stream = back,
            Err(_broken) => return,
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_number_is_known_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let (mut child, address, boot_id) = spawn_child(directory.path());
        let (sent, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let clients: Vec<_> =
            (0..8).map(|_| tokio::spawn(client(address, Arc::clone(&sent), Arc::clone(&answered)))).collect();
        while answered.load(Ordering::SeqCst) < 500 {
            tokio::task::yield_now().await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for client in clients {
            client.await.unwrap();
        }

        let log = FakeLog::new();
        let (emitter, publisher) = start(config(directory.path()), log.clone());
        log.wait_until(|log| !log.lines(Schema::Producer).is_empty()).await;
        let end = log.lines(Schema::Producer).remove(0);
        assert_eq!((&end["boot_id"], &end["clean"]), (&boot_id.into(), &false.into()));
        assert_eq!((&end["service"], &end["instance"]), (&"shop".into(), &"shop-1".into()));
        let issued = end["issued"].as_u64().unwrap();
        let (sent, answered) = (sent.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
        assert!(answered <= issued && issued <= sent, "{answered} answered, {issued} issued, {sent} sent");
        assert_ne!(emitter.boot_id(), end["boot_id"]);
        publisher.shutdown(DEADLINE).await.unwrap();
    }
}

fn boots(directory: &Path) -> Vec<String> {
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

async fn announced_by_next_boot(directory: &Path) -> Vec<Value> {
    let log = FakeLog::new();
    let (emitter, publisher) = start(config(directory), log.clone());
    publisher.shutdown(DEADLINE).await.unwrap();
    log.lines(Schema::Producer).into_iter().filter(|end| end["boot_id"] != emitter.boot_id()).collect()
}

#[tokio::test]
async fn files_of_the_living_and_of_the_announced_are_let_be() {
    let directory = tempfile::tempdir().unwrap();
    let (living, publisher) = start(config(directory.path()), FakeLog::new());
    living.malformed(None, 400, "x");
    assert_eq!(announced_by_next_boot(directory.path()).await, Vec::<Value>::new());
    publisher.shutdown(DEADLINE).await.unwrap();
    // It has announced itself, and is still there: its lock is not free.
    assert_eq!(announced_by_next_boot(directory.path()).await, Vec::<Value>::new());
    assert!(boots(directory.path()).contains(&format!("{}.boot", living.boot_id())));
    let left = living.boot_id().to_owned();
    drop(living);
    // Now it is gone; the announcement needs no second one.
    assert_eq!(announced_by_next_boot(directory.path()).await, Vec::<Value>::new());
    assert!(!boots(directory.path()).contains(&format!("{left}.boot")));
}

#[tokio::test]
async fn an_announcement_is_kept_until_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let down = FakeLog::new();
    down.set_down(true);
    let (first, publisher) = start(config(directory.path()), down.clone());
    first.malformed(None, 400, "x");
    let boot_id = first.boot_id().to_owned();
    assert!(!publisher.shutdown(std::time::Duration::ZERO).await.unwrap().announced);
    drop(first);

    let (second, publisher) = start(config(directory.path()), down);
    assert!(!publisher.shutdown(std::time::Duration::ZERO).await.unwrap().announced);
    drop(second);

    let ends = announced_by_next_boot(directory.path()).await;
    assert_eq!(ends.len(), 2);
    let first = ends.iter().find(|end| end["boot_id"] == boot_id).unwrap();
    assert_eq!((&first["issued"], &first["clean"]), (&1.into(), &false.into()));
    assert_eq!(announced_by_next_boot(directory.path()).await, Vec::<Value>::new());
}

/// How many of these boots' files this process has open.
#[cfg(target_os = "linux")]
fn open_files(directory: &Path, boots: &[String]) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
    targets.filter(|target| boots.iter().any(|id| *target == directory.join(format!("{id}.boot")))).count()
}

#[tokio::test]
async fn a_crowd_of_ended_boots_is_announced_without_holding_many_files_open() {
    let directory = tempfile::tempdir().unwrap();
    let down = FakeLog::new();
    down.set_down(true);
    let (first, publisher) = start(config(directory.path()), down.clone());
    let boot_id = first.boot_id().to_owned();
    assert!(!publisher.shutdown(std::time::Duration::ZERO).await.unwrap().announced);
    drop(first);
    let file = directory.path().join(format!("{boot_id}.boot"));
    let page = String::from_utf8(fs::read(&file).unwrap()).unwrap();
    fs::remove_file(file).unwrap();
    let crowd: Vec<_> =
        (0..200).map(|number| format!("{}{number:03}", &boot_id[..boot_id.len() - 3])).collect();
    for id in &crowd {
        fs::write(directory.path().join(format!("{id}.boot")), page.replace(&boot_id, id)).unwrap();
    }

    let log = FakeLog::new();
    log.set_down(true);
    let (emitter, publisher) = start(config(directory.path()), log.clone());
    log.wait_until(|log| !log.calls.lock().unwrap().is_empty()).await;
    #[cfg(target_os = "linux")]
    assert_eq!(open_files(directory.path(), &crowd), 64);
    log.set_down(false);
    log.wait_until(|log| log.lines(Schema::Producer).len() >= crowd.len()).await;
    publisher.shutdown(DEADLINE).await.unwrap();
    let ends = log.lines(Schema::Producer);
    let mut announced: Vec<_> = ends.iter().map(|end| end["boot_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(announced.pop().as_deref(), Some(emitter.boot_id()));
    announced.sort();
    assert_eq!(announced, crowd);
    assert_eq!(boots(directory.path()), [format!("{}.boot", emitter.boot_id())]);
}

#[tokio::test]
async fn a_number_given_out_after_the_announcement_is_told_of_again() {
    let directory = tempfile::tempdir().unwrap();
    let (late, publisher) = start(config(directory.path()), FakeLog::new());
    assert!(publisher.shutdown(DEADLINE).await.unwrap().announced);
    late.malformed(None, 400, "x");
    drop(late);
    let ends = announced_by_next_boot(directory.path()).await;
    assert_eq!((ends.len(), &ends[0]["issued"], &ends[0]["clean"]), (1, &1.into(), &false.into()));
}

#[tokio::test]
async fn files_of_another_kind_are_put_aside_once() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.boot"), "").unwrap();
    fs::write(directory.path().join("b.boot"), [0xff; 4096]).unwrap();
    fs::write(directory.path().join("note.txt"), "mine").unwrap();
    assert_eq!(announced_by_next_boot(directory.path()).await, Vec::<Value>::new());
    let names = boots(directory.path());
    for name in ["a.unreadable", "b.unreadable", "note.txt"] {
        assert!(names.iter().any(|n| n == name), "{names:?}");
    }
}
