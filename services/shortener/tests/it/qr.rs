//! QR codes: what a scanner reads in them.

use http::Method;
use serde_json::json;

use crate::server::{Answer, Server};

/// Reads a PNG into one luminance value a pixel.
fn pixels(image: &[u8]) -> (usize, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(image));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info().unwrap();
    let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut buffer).unwrap();
    assert_eq!(info.width, info.height);
    let grey = buffer
        .chunks(3)
        .map(|rgb| u8::try_from(rgb.iter().map(|part| u32::from(*part)).sum::<u32>() / 3).unwrap());
    (info.width as usize, grey.collect())
}

fn scan(image: &[u8]) -> String {
    let (edge, grey) = pixels(image);
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(edge, edge, |x, y| grey[y * edge + x]);
    let grids = prepared.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

async fn image(server: &Server, path: &str) -> Answer {
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200, "{path} {}", answer.text());
    assert_eq!(answer.header("cache-control"), "public, max-age=3600");
    answer
}

#[tokio::test]
async fn a_scanner_reads_the_short_url() {
    let server = Server::start().await;
    for slug in ["plain", "grüße", &"long-".repeat(50)] {
        let code = server.link(&json!({ "longUrl": "https://example.com/", "customSlug": slug })).await;
        let base = url::Url::parse(&format!("http://{}/", server.addr)).unwrap();
        let expected = base.join(&code).unwrap().to_string();
        let path = format!("/{code}/qr-code");
        let path = url::Url::parse(&format!("http://h{path}")).unwrap().path().to_owned();
        for query in [
            "?margin=20",
            "?margin=20&size=500&errorCorrection=h",
            "?margin=9&color=203&bgColor=ffe",
            "?size=50&margin=8",
        ] {
            let answer = image(&server, &format!("{path}{query}")).await;
            assert_eq!(answer.header("content-type"), "image/png");
            assert_eq!(scan(&answer.body), expected, "{query}");
        }
    }
}

#[tokio::test]
async fn images_have_the_size_asked_for_and_are_no_clicks() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/", "maxVisits": 1 })).await;
    let path = format!("/{code}/qr-code");
    assert_eq!(pixels(&image(&server, &path).await.body).0, 300);
    assert_eq!(pixels(&image(&server, &format!("{path}?size=100&margin=10")).await.body).0, 120);
    assert_eq!(pixels(&image(&server, &format!("{path}?size=99999999&margin=99999999")).await.body).0, 3_000);
    let svg = image(&server, &format!("{path}?format=svg&size=80&margin=2&color=0f0")).await;
    assert_eq!(svg.header("content-type"), "image/svg+xml");
    assert!(svg.text().contains("viewBox=\"0 0 84 84\"") && svg.text().contains("fill=\"#00ff00\""));
    let head = server.call(Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(server.get("/nothing/qr-code").await.status, 404);
    let posted = server.call(Method::POST, &path, &[], "").await;
    assert_eq!((posted.status.as_u16(), posted.header("allow")), (405, "GET, HEAD, OPTIONS"));
    for event in server.events().await {
        assert!(!event.click, "{event:?}");
    }
    assert_eq!(server.get(&format!("/{code}")).await.status, 302, "no image took the one visit");
    assert_eq!(server.get(&format!("/{code}")).await.status, 410);
    assert_eq!(server.get(&path).await.status, 200, "what is on paper keeps its image");
}

#[tokio::test]
async fn codes_of_several_segments_and_of_other_domains_have_images() {
    let server = Server::start().await;
    let link = async |slug: &str, domain: &str| {
        let body = json!({ "longUrl": "https://example.com/", "customSlug": slug, "domain": domain });
        let made = server.create(&body).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["shortUrl"].as_str().unwrap().to_owned()
    };
    let here = [link("docs/start", "").await, link("shared", "").await, link("only-here", "").await];
    let there = [link("docs/start", "s.example").await, link("shared", "s.example:8443").await];
    let own = server.addr.to_string();
    server.events().await;
    for (host, path, url) in [
        (own.as_str(), "/docs/start/qr-code", &here[0]),
        (&own, "/docs%2Fstart/qr-code", &here[0]),
        ("s.example", "/docs/start/qr-code", &there[0]),
        ("S.EXAMPLE", "/docs/start/qr-code", &there[0]),
        ("s.example:8443", "/shared/qr-code", &there[1]),
        ("s.example", "/only-here/qr-code", &here[2]),
        ("unknown.example", "/shared/qr-code", &here[1]),
    ] {
        let path = format!("{path}?margin=20");
        let answer = server.call(Method::GET, &path, &[("host", host)], "").await;
        assert_eq!(answer.status, 200, "{host}{path} {}", answer.text());
        assert_eq!(scan(&answer.body), *url, "{host}{path}");
        let event = server.event().await;
        assert_eq!(event.route.as_str(), "/{code}/qr-code");
        let domain = url::Url::parse(url).unwrap().authority().to_owned();
        assert_eq!(event.domain.as_str(), if domain == own { "" } else { &domain }, "{host}{path}");
    }
    for path in ["/docs/none/qr-code", "/docs//qr-code", "/rest/v3/qr-code"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (404, "application/problem+json")
        );
    }
}
