//! `links.schemes`: targets of other schemes than the web's, where they are allowed.

use http::Method;
use serde_json::{Value, json};
use shortener::ShortenerConfig;
use shortener::link::NewLink;
use shortener::store::LinkStore as _;
use shortener::target::{self, TargetPolicy};

use crate::server::Server;

const LINKS: &str = "/rest/v3/short-urls";

fn allowed(config: &mut ShortenerConfig) {
    config.links.schemes = ["http", "https", "mailto", "myapp", "ssh"].map(str::to_owned).to_vec();
}

async fn reason(server: &Server, target: &str) -> Value {
    let answer = server.create(&json!({ "longUrl": target })).await;
    assert_eq!(answer.status, 400, "{target}");
    answer.json()["reasons"]["longUrl"].clone()
}

#[tokio::test]
async fn allowed_schemes_are_redirected_to_as_they_are() {
    let server = Server::with(allowed).await;
    for (target, path, location, target_host) in [
        ("mailto:a@e.example?subject=x%20y", "", "mailto:a@e.example?subject=x%20y", ""),
        ("MAILTO:a@e.example", "?bcc=b@e.example", "mailto:a@e.example", ""),
        ("myapp://open/x?y=1", "", "myapp://open/x?y=1", "open"),
        ("myapp://Open/x?y=1", "?y=2&z=3", "myapp://Open/x?y=2&z=3", "open"),
        ("myapp:/x", "?y=2", "myapp:/x?y=2", ""),
    ] {
        let code = server.link(&json!({ "longUrl": target })).await;
        server.events().await;
        // Through the store and from memory.
        for _ in 0..2 {
            let answer = server.get(&format!("/{code}{path}")).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (302, location), "{target}");
            let event = server.event().await;
            assert_eq!((event.target_host.as_str(), event.click), (target_host, true), "{target}");
        }
    }
}

#[tokio::test]
async fn previews_show_them_escaped() {
    let server = Server::with(allowed).await;
    let target = "mailto:\"onclick='x'><script>alert(1)</script>";
    let code = server.link(&json!({ "longUrl": target })).await;
    let page = server.get(&format!("/{code}+")).await.text();
    assert!(
        !page.contains("<script") && !page.contains("onclick='") && !page.contains("\"onclick"),
        "{page}"
    );
    let escaped = "mailto:&#34;onclick=&#39;x&#39;&#62;&#60;script&#62;alert(1)&#60;/script&#62;";
    assert!(page.contains(&format!("href=\"{escaped}\"")), "{page}");
}

#[tokio::test]
async fn all_others_are_refused_as_before() {
    let server = Server::with(allowed).await;
    let scheme = "has none of the schemes that are allowed here: http and https, unless configured otherwise";
    for target in ["javascript:alert(1)", "data:text/html,x", "ftp://e.example/", "tel:1", "e.example"] {
        assert_eq!(reason(&server, target).await, scheme, "{target}");
    }
    assert_eq!(reason(&server, "myapp://user:password@open/").await, "holds credentials");
    assert_eq!(reason(&server, "myapp:x y").await, reason(&server, "myapp:x\ty").await);
    let own = server.addr;
    assert_eq!(reason(&server, &format!("ssh://{own}/")).await, "leads to this service itself");
    let long = format!("mailto:{}@e.example", "a".repeat(2_048));
    assert_eq!(reason(&server, &long).await, "is longer than 2048 bytes");
    let default = Server::start().await;
    assert_eq!(reason(&default, "mailto:a@e.example").await, scheme);
}

#[tokio::test]
async fn hosts_of_theirs_are_looked_at_as_those_of_the_web() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hosts");
    std::fs::write(&path, "bad.example\n127.0.0.9\n").unwrap();
    let listed = path.clone();
    let server = Server::with(|config| {
        allowed(config);
        config.links.blocklist_files = vec![listed];
        config.links.private_targets = false;
    })
    .await;
    for target in ["ssh://BAD.example/", "ssh://www.b%61d.example:22/"] {
        assert_eq!(reason(&server, target).await, "leads to a host that is blocked here", "{target}");
    }
    for target in ["ssh://10.1/", "ssh://localhost/", "ssh://[::1]/"] {
        assert_eq!(reason(&server, target).await, "leads into a private network", "{target}");
    }
    server.link(&json!({ "longUrl": "myapp://open/x", "domain": "t.example" })).await;
    assert_eq!(reason(&server, "ssh://T.example/").await, "leads to this service itself");
    // One from before its host was listed, as it is written by an app.
    let mut links = shortener::config::LinksConfig::default();
    links.schemes.push("ssh".to_owned());
    let policy = TargetPolicy::new(&"https://s.example/".parse().unwrap(), &links);
    let old = NewLink::with_alias("old", target::parse("ssh://Bad.Example/", &policy).unwrap());
    server.store.create(&[old], None).await.unwrap();
    let answer = server.get("/old").await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("location")), (410, false));
}

#[tokio::test]
async fn rules_domains_and_imports_have_them_too() {
    let server = Server::with(allowed).await;
    let code = server.link(&json!({ "longUrl": "https://e.example/" })).await;
    let rules = json!({ "redirectRules": [{
        "longUrl": "myapp://open/x",
        "conditions": [{ "type": "query-param", "matchKey": "app", "matchValue": "1" }],
    }] });
    let path = format!("{LINKS}/{code}/redirect-rules");
    assert_eq!(server.api(Method::POST, &path, &rules).await.status, 200);
    assert_eq!(server.get(&format!("/{code}?app=1")).await.header("location"), "myapp://open/x?app=1");
    assert_eq!(server.get(&format!("/{code}")).await.header("location"), "https://e.example/");
    let edit = json!({ "longUrl": "mailto:a@e.example" });
    assert_eq!(server.api(Method::PATCH, &format!("{LINKS}/{code}"), &edit).await.status, 200);
    assert_eq!(server.get(&format!("/{code}")).await.header("location"), "mailto:a@e.example");
    let own = server.addr.to_string();
    let redirects = json!({
        "domain": own, "baseUrlRedirect": "mailto:a@e.example?subject={DOMAIN}",
        "invalidShortUrlRedirect": "myapp://open/{ORIGINAL_PATH}", "regular404Redirect": "javascript:alert(1)",
    });
    let answer = server.api(Method::PATCH, "/rest/v3/domains/redirects", &redirects).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["invalidElements"]),
        (400, &json!(["regular404Redirect"]))
    );
    let mut redirects = redirects;
    redirects["regular404Redirect"] = Value::Null;
    assert_eq!(server.api(Method::PATCH, "/rest/v3/domains/redirects", &redirects).await.status, 200);
    for (path, location) in [("/", "mailto:a@e.example?subject={DOMAIN}"), ("/none", "myapp://open/none")] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (302, location), "{path}");
    }
    let file = "shortCode,longUrl\ncall,myapp:call\nrun,javascript:alert(1)\n";
    let headers = [("x-api-key", server.key.as_str()), ("content-type", "text/csv")];
    let imported = server.call(Method::POST, "/rest/v3/short-urls.csv", &headers, file).await.json();
    assert_eq!((&imported["created"], &imported["invalid"]), (&json!(1), &json!(1)), "{imported}");
    assert_eq!(server.get("/call").await.header("location"), "myapp:call");
}

#[tokio::test]
async fn what_was_accepted_before_the_list_was_narrowed_goes_on() {
    let before = Server::with(allowed).await;
    let code = before.link(&json!({ "longUrl": "mailto:a@e.example" })).await;
    let server = before.beside(|config| config.links.schemes = vec!["https".to_owned()]).await;
    let answer = server.get(&format!("/{code}")).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "mailto:a@e.example"));
    for refused in ["mailto:a@e.example", "http://e.example/"] {
        assert_eq!(server.create(&json!({ "longUrl": refused })).await.status, 400, "{refused}");
    }
    let edit = json!({ "title": "Mail" });
    assert_eq!(server.api(Method::PATCH, &format!("{LINKS}/{code}"), &edit).await.status, 200);
}
