//! What must not leave the process does not.

use crate::http::{exchange, serve};
use crate::log::{DEADLINE, FakeLog, quick, start};

#[tokio::test]
async fn no_whole_address_no_query_no_agent_no_credentials() {
    let log = FakeLog::new();
    let (emitter, publisher) = start(quick(), log.clone());
    let address = serve(&emitter).await;
    let headers = "host: user:hunter1@hop.example\nconnection: close\n\
        user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 NeedleAgent\n\
        referer: https://bob:hunter3@www.news.example/path-needle?query-needle=1#fragment-needle\n\
        cookie: session=cookie-needle\nauthorization: Bearer auth-needle\nx-api-key: key-needle";
    for path in [
        "/rust?query-needle=1",
        "/orphan/at/203.0.113.99?query-needle=1",
        "/end/probe?a=query-needle",
        "/end/broken",
        "/end/panic",
        "/no/such/path-needle",
    ] {
        exchange(address, &format!("GET {path} HTTP/1.1\n{headers}"), "").await;
    }
    emitter.malformed(
        Some("203.0.113.99:4711".parse().unwrap()),
        400,
        "bad: GET /x?query-needle=1 from 203.0.113.99",
    );
    publisher.shutdown(DEADLINE).await.unwrap();

    let bytes: Vec<u8> = log.appended.lock().unwrap().iter().flat_map(|m| m.payload.to_vec()).collect();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), 8, "seven hops and the end of the boot");
    let secrets = [
        "needle",
        "Needle",
        "hunter",
        "Mozilla",
        "127.0.0.1",
        "198.51.100.77",
        "203.0.113.99",
        "10.9.8.7",
        "?utm",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    // And what is left of them is there.
    for kept in ["127.0.0.0/24", "198.51.100.0/24", "203.0.113.0/24", "news.example", "Firefox", "<ip>"] {
        assert!(text.contains(kept), "no {kept} in {text}");
    }
}
