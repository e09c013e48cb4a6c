//! Files that are refused as a whole: nothing is imported, and it is said where they are wrong.

use http::Method;
use serde_json::Value;

use super::{PATH, send};
use crate::server::{Answer, Server};

/// What is wrong with a file: the file, the status, and a part of the answer.
const FILES: &[(&str, u16, &str)] = &[
    ("", 400, "not even a header"),
    ("\n\n\r\n", 400, "not even a header"),
    ("https://example.com/,a\n", 400, "not the header of a known format"),
    ("longUrl;title\nhttps://example.com/;x\n", 400, "not the header of a known format"),
    ("longUrl,title,colour\n", 400, "\\\"colour\\\" is not known"),
    ("longUrl,title,Title\n", 400, "the same as another"),
    ("shortCode,title\n", 400, "not the header"),
    (
        "longUrl,title\nhttps://example.com/,a\nhttps://example.com/\n\nhttps://example.com/,a,b\n",
        400,
        "\"row\":3",
    ),
    ("longUrl,title\nhttps://example.com/,\"a\nhttps://example.com/,b\n", 400, "no counterpart"),
    ("longUrl,title\nhttps://example.com/,\"a", 400, "no counterpart"),
    ("keyword,url\na,https://example.com/\n", 200, "yourls"),
    ("longUrl\n", 200, "\"rows\":0"),
    ("longUrl", 200, "\"rows\":0"),
    ("longUrl\nhttps://other.example/", 200, "\"created\":1"),
];

async fn send_bytes(server: &Server, kind: &str, body: Vec<u8>) -> Answer {
    use http_body_util::{BodyExt as _, Full};
    let client =
        hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let mut request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("http://{}{PATH}", server.addr))
        .header("x-api-key", &server.key);
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
}

#[tokio::test]
async fn files_that_are_none_say_why() {
    let server = Server::start().await;
    for (file, status, part) in FILES {
        let answer = send(&server, &server.key, "", file).await;
        assert_eq!(answer.status.as_u16(), *status, "{file:?}: {}", answer.text());
        assert!(answer.text().contains(part), "{file:?}: {}", answer.text());
        if *status == 400 {
            assert!(answer.text().contains("Nothing was imported."), "{file:?}: {}", answer.text());
        }
    }
    let rows = send(&server, &server.key, "", FILES[7].0).await.json()["rows"].clone();
    assert_eq!(rows[0]["reason"], "has 1 columns instead of 2");
    assert_eq!(
        (&rows[1]["row"], &rows[1]["line"], rows.as_array().unwrap().len()),
        (&4.into(), &5.into(), 2)
    );
    for query in ["?format=excel", "?dryRun=1", "?dryRun="] {
        let answer = send(&server, &server.key, query, "longUrl\n").await;
        assert_eq!(answer.status, 400, "{query}");
        assert_eq!(answer.json()["type"], "https://shlink.io/api/error/invalid-data");
    }
}

#[tokio::test]
async fn other_types_and_charsets_are_refused() {
    let server = Server::start().await;
    let file = b"longUrl,title\nhttps://example.com/,Caf\xe9\n".to_vec();
    let answer = send_bytes(&server, "text/csv", file.clone()).await;
    assert_eq!(answer.json()["rows"][0]["reason"], "is not in UTF-8");
    let utf16: Vec<u8> = "\u{feff}longUrl\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(send_bytes(&server, "text/csv", utf16).await.status, 400);
    for (kind, status) in [
        ("", 415),
        ("application/json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/csv; charset=iso-8859-1", 415),
        ("text/csv; header=present; charset=\"UTF-8\"", 200),
        ("TEXT/CSV;charset=utf8", 200),
    ] {
        let answer = send_bytes(&server, kind, b"longUrl\n".to_vec()).await;
        assert_eq!(answer.status.as_u16(), status, "{kind}: {}", answer.text());
    }
}

#[tokio::test]
async fn files_have_a_size() {
    let server = Server::with(|config| {
        config.api.import_rows_max = 10;
        config.api.import_body_bytes_max = 1_000;
    })
    .await;
    let file = |rows: usize| format!("longUrl\n{}", "https://example.com/\n".repeat(rows));
    assert_eq!(send(&server, &server.key, "", &file(10)).await.status, 200);
    for (rows, part) in [
        (11, "Files have at most 10 rows. Nothing was imported"),
        (100, "at most 1000 bytes. Nothing was done"),
    ] {
        let answer = send(&server, &server.key, "", &file(rows)).await;
        assert_eq!(answer.status, 413);
        assert!(answer.text().contains(part), "{}", answer.text());
    }
    let list = server.api(Method::GET, "/rest/v3/short-urls", &Value::Null).await.json();
    assert_eq!(
        list["shortUrls"]["pagination"]["totalItems"], 1,
        "only of the first file, where all rows are alike"
    );
}
