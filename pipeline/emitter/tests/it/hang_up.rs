//! Clients that do not wait.

use crate::http::{read_until, send, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

#[tokio::test]
async fn before_the_answer_and_during_it() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let address = serve(&emitter).await;

    let stream = send(address, "GET /end/never HTTP/1.1\nhost: x", "").await;
    drop(stream);
    let event = log.wait_for_events(1).await.remove(0);
    assert_eq!((event["status"].as_u64(), event["outcome"].as_str()), (Some(499), Some("cancelled")));
    assert_eq!((event["route"].as_str(), event.get("bytes_out")), (Some("/end/never"), None));

    let mut stream = send(address, "GET /end/stuck HTTP/1.1\nhost: x", "").await;
    read_until(&mut stream, "0123456789").await;
    drop(stream);
    let event = log.wait_for_events(2).await.remove(1);
    assert_eq!((event["status"].as_u64(), event["outcome"].as_str()), (Some(200), Some("cancelled")));
    assert_eq!(event["bytes_out"], 20);

    publisher.shutdown(DEADLINE).await.unwrap();
    assert_eq!((emitter.issued(), log.events().len()), (2, 2));
}

/// Many at once, hanging up at any time: each leaves one event, no number is given twice, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_leaves_one_event_each() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let address = serve(&emitter).await;
    let paths = ["/rust", "/end/panic", "/end/stream", "/end/missing", "/end/burst"];
    let clients = (0..20).map(|client| {
        tokio::spawn(async move {
            for number in 0..20 {
                let path = paths[(client + number) % paths.len()];
                let answer = crate::http::get_path(address, path).await;
                // A body that panics takes its connection with it, with what had not been written yet.
                assert!(answer.starts_with("HTTP/1.1 ") || path == "/end/burst", "{path}: {answer}");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    publisher.shutdown(DEADLINE).await.unwrap();
    let mut seqs: Vec<_> = log.events().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=400).collect::<Vec<_>>());
    assert_eq!((emitter.issued(), emitter.requests()), (400, 400));
}
