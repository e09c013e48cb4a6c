//! Imports: each row has its result, nothing is made twice, and what was made stays made.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use shortener::keys::{self, NewKey, Role};
use shortener::link::LinkRef;
use shortener::store::Read;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{PATH, fates, import, links, on_each_store, send};
use crate::faulty::At;
use crate::server::{Server, until};

async fn stored(server: &Server) -> u64 {
    server.store.inner.count(None).await.unwrap()
}

#[tokio::test]
async fn each_row_has_its_result_and_none_keeps_another_from_being_made() {
    for server in on_each_store(|_| {}).await {
        each_row_has_its_result(&server).await;
    }
}

async fn each_row_has_its_result(server: &Server) {
    server.link(&json!({ "longUrl": "https://there.example/", "customSlug": "there", "title": "Old" })).await;
    let file = "\u{feff}Short Code,Long URL,title,maxVisits,crawlable,redirectRules,createdAt\r\n\
                a,https://a.example/,\"A\r\ntitle\",,,,\r\n\
                b,https://b.example/,\"B, \"\"b\"\" 🚀\",5,TRUE,,2020-02-03T04:05:06Z\r\n\
                \r\n\
                there,https://there.example,Other,,,,\r\n\
                there,https://elsewhere.example/,,,,,\r\n\
                b,https://b.example/,again,,,,\r\n\
                ,https://c.example/,,,,,\r\n\
                ,https://c.example/,,,,,\r\n\
                rest,ftp://d.example/,,0,perhaps,,\r\n\
                e,https://e.example/,,,,\"[{\"\"longUrl\"\":\"\"https://e.example/x\"\",\"\"conditions\"\":[]}]\",\r\n\
                f,https://f.example/,,,,,2999-01-01\r\n\
                '=g,https://g.example/,,,,,\r\n";
    let dry = import(server, "?dryRun=true", file).await;
    assert_eq!(stored(server).await, 1, "nothing is written");
    let wet = import(server, "?dryRun=false", file).await;
    let expected = [
        "invalid",
        "created",
        "unchanged",
        "taken",
        "unchanged",
        "created",
        "unchanged",
        "invalid",
        "invalid",
        "invalid",
        "invalid",
    ];
    assert_eq!(fates(&wet), expected, "{wet}");
    assert_eq!(fates(&dry), expected, "{dry}");
    assert_eq!((&dry["dryRun"], &wet["dryRun"]), (&json!(true), &json!(false)));
    let results = wet["results"].as_array().unwrap();
    assert_eq!(results[0]["problem"]["reasons"]["title"], "holds control characters");
    let numbers: Vec<_> = results.iter().map(|row| row["row"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (2..13).collect::<Vec<_>>(), "as a spreadsheet counts them, without empty lines");
    assert_eq!(results[1]["shortUrl"], format!("http://{}/b", server.addr));
    assert_eq!(results[3]["status"], 409);
    assert_eq!(results[3]["problem"]["suggestions"][0], "there-2");
    assert_eq!(results[5]["shortUrl"], results[6]["shortUrl"], "one is as good as the other");
    let wrong = &results[7]["problem"]["invalidElements"];
    assert_eq!(
        *wrong,
        json!(["longUrl", "customSlug", "maxVisits", "crawlable"]),
        "each field that is wrong"
    );
    assert_eq!(results[8]["problem"]["reasons"]["redirectRules"], "rule 1: has not 1 to 20 conditions");
    assert_eq!(results[9]["problem"]["reasons"]["createdAt"], "is in the future");
    let sums = json!({ "rows": 11, "created": 2, "unchanged": 3, "taken": 1, "invalid": 5, "failed": 0 });
    for (name, count) in sums.as_object().unwrap() {
        assert_eq!((&wet[name], &dry[name]), (count, count), "{name}");
    }
    assert_eq!(stored(server).await, 3);
    let b = server.api(Method::GET, "/rest/v3/short-urls/b", &Value::Null).await.json();
    assert_eq!((&b["title"], &b["crawlable"]), (&json!("B, \"b\" 🚀"), &json!(true)));
    assert_eq!(
        (&b["meta"]["maxVisits"], &b["dateCreated"]),
        (&json!(5), &json!("2020-02-03T04:05:06+00:00"))
    );
}

#[tokio::test]
async fn the_same_file_makes_nothing_twice() {
    for server in on_each_store(|_| {}).await {
        the_same_file_can_come_again(&server).await;
    }
}

async fn the_same_file_can_come_again(server: &Server) {
    let mut file = String::from("shortCode,longUrl\n");
    for number in 0..2_500 {
        // Every tenth gets a code of ours.
        let code = if number % 10 == 0 { String::new() } else { format!("c{number}") };
        file += &format!("{code},https://example.com/{number}\n");
    }
    let first = import(server, "", &file).await;
    assert_eq!((&first["created"], &first["complete"]), (&json!(2_500), &json!(true)));
    let before = links(server).await;
    let again = import(server, "", &file).await;
    assert_eq!((&again["unchanged"], &again["created"]), (&json!(2_500), &json!(0)));
    assert_eq!(links(server).await, before);
    assert_eq!(stored(server).await, 2_500);
    let dry = import(server, "?dryRun=true", &file).await;
    assert_eq!(dry["unchanged"], 2_500);
}

#[tokio::test]
async fn rows_without_a_code_take_a_link_that_has_all_they_name() {
    for server in on_each_store(|_| {}).await {
        rows_take_what_has_all_they_name(&server).await;
    }
}

async fn rows_take_what_has_all_they_name(server: &Server) {
    server.link(&json!({ "longUrl": "https://there.example/", "crawlable": true })).await;
    let file = "shortCode,longUrl,title,crawlable,forwardQuery,redirectStatus,cacheLifetime\n\
                ,https://there.example/,,true,,,\n\
                ,https://there.example/,,false,,,\n\
                ,https://there.example/,,false,true,,\n\
                ,https://there.example/,,,,301,\n\
                ,https://there.example/,,,,301,60\n\
                ,https://there.example/,,,,,60\n\
                named,https://other.example/,Other,,false,,\n\
                ,https://other.example/,,,false,,\n\
                ,https://other.example/,Else,,,,\n\
                ,https://other.example/,,,,,\n";
    let dry = import(server, "?dryRun=true", file).await;
    let wet = import(server, "", file).await;
    let (made, there) = ("created", "unchanged");
    assert_eq!(fates(&wet), [there, made, there, made, made, there, made, there, made, there], "{wet}");
    assert_eq!(fates(&dry), fates(&wet), "{dry}");
    let named = format!("http://{}/named", server.addr);
    assert_eq!([&dry["results"][7]["shortUrl"], &wet["results"][7]["shortUrl"]], [&named, &named]);
    let again = import(server, "", file).await;
    assert_eq!((&again["unchanged"], &again["created"]), (&json!(10), &json!(0)));
}

#[tokio::test]
async fn what_was_made_before_a_failure_stays_and_the_file_can_come_again() {
    let server = Server::start().await;
    let mut file = String::from("shortCode,longUrl\n");
    for number in 0..2_500 {
        file += &format!("c{number},https://example.com/{number}\n");
    }
    // The second chunk finds the store gone.
    server.store.hold_creates(Some(At::End));
    let failing = async {
        server.store.create_held().await;
        server.store.fail_creates(true);
        server.store.hold_creates(None);
    };
    let (answer, ()) = tokio::join!(import(&server, "", &file), failing);
    assert_eq!((&answer["created"], &answer["failed"]), (&json!(1_000), &json!(1_500)), "{}", answer["rows"]);
    assert_eq!((&answer["complete"], &answer["results"][1_000]["status"]), (&json!(false), &json!(503)));
    assert_eq!(server.event().await.error_type.as_str(), "store_unavailable");
    assert_eq!(stored(&server).await, 1_000, "what was answered is there");
    // From the start it is an ordinary failure.
    assert_eq!(send(&server, &server.key, "", &file).await.status, 503);
    server.store.fail_creates(false);
    let again = import(&server, "", &file).await;
    assert_eq!((&again["unchanged"], &again["created"]), (&json!(1_000), &json!(1_500)));
}

#[tokio::test]
async fn with_an_idempotency_key_an_import_is_answered_as_at_first() {
    for server in on_each_store(|_| {}).await {
        an_import_happens_once(&server).await;
    }
}

async fn an_import_happens_once(server: &Server) {
    let sent = async |key: &str, query: &str, file: &str| {
        let headers = [("x-api-key", &*server.key), ("content-type", "text/csv"), ("idempotency-key", key)];
        server.call(Method::POST, &format!("{PATH}{query}"), &headers, file).await
    };
    let mut file = String::from("shortCode,longUrl\n,ftp://wrong.example/\n");
    for number in 0..1_500 {
        file += &format!("c{number},https://example.com/{number}\n");
    }
    assert_eq!(sent("a b", "", &file).await.status, 400);
    assert_eq!(sent("k", "?dryRun=true", &file).await.json()["created"], 1_500, "nothing happens by that");
    // The second chunk finds the store gone.
    server.store.hold_creates(Some(At::Start));
    let failing = async {
        server.store.create_held().await;
        let other = sent("k", "", &file).await;
        assert_eq!((other.status.as_u16(), other.header("retry-after")), (409, "1"));
        server.store.hold_creates(Some(At::End));
        server.store.create_held().await;
        server.store.fail_creates(true);
        server.store.hold_creates(None);
    };
    let (first, ()) = tokio::join!(sent("k", "", &file), failing);
    assert_eq!((&first.json()["created"], &first.json()["failed"]), (&json!(999), &json!(501)));
    assert_eq!(sent("k", "", &file).await.status, 503, "this try has made nothing");
    server.store.fail_creates(false);
    let rest = sent("k", "", &file).await;
    assert_eq!((&rest.json()["created"], rest.header("idempotency-replayed")), (&json!(1_500), ""));
    let again = sent("k", "", &file).await;
    assert_eq!((again.json(), again.header("idempotency-replayed")), (rest.json(), "true"));
    assert_eq!(stored(server).await, 1_500);

    assert_eq!(sent("k", "", &file.replace("c7,", "d7,")).await.status, 422);
    assert_eq!(sent("k", "?format=hoplog", &file).await.status, 422);
    let gone = server.api(Method::DELETE, "/rest/v3/short-urls/c7", &Value::Null).await;
    assert_eq!(gone.status, 204);
    let again = sent("k", "", &file).await.json();
    assert_eq!((&again["created"], &again["invalid"]), (&json!(1_499), &json!(2)));
    assert_eq!(again["results"][8]["status"], 404, "{}", again["results"][8]);
    assert_eq!(stored(server).await, 1_499, "a link that was deleted is not made again");
}

#[tokio::test]
async fn another_try_says_of_each_row_what_the_first_one_did() {
    for server in on_each_store(|_| {}).await {
        each_row_is_settled_once(&server).await;
    }
}

async fn each_row_is_settled_once(server: &Server) {
    let sent = async |key: &str, file: &str| {
        let headers = [("x-api-key", &*server.key), ("content-type", "text/csv"), ("idempotency-key", key)];
        server.call(Method::POST, PATH, &headers, file).await
    };
    // What is too far ahead for a clock now, and not in some seconds.
    let (started, ahead) = (Instant::now(), Duration::from_secs(5));
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(300) + ahead;
    let soon = soon.format(&Rfc3339).unwrap();
    // The row `a` makes a domain ours that `b` leads to.
    let file = format!(
        "domain,shortCode,longUrl,createdAt\n\
         new.example,a,https://example.com/a,\n\
         ,b,https://new.example/,\n\
         ,c,https://example.com/c,{soon}\n\
         ,d,https://example.com/d,\n"
    );
    let none = format!("shortCode,longUrl,createdAt\ne,https://example.com/e,{soon}\n");
    let (first, nothing) = (sent("k", &file).await.json(), sent("n", &none).await.json());
    assert_eq!(fates(&first), ["created", "created", "invalid", "created"]);
    assert_eq!(fates(&nothing), ["invalid"]);
    let again = sent("k", &file).await;
    assert_eq!((again.json(), again.header("idempotency-replayed")), (first.clone(), "true"));

    tokio::time::sleep((ahead + Duration::from_secs(1)).saturating_sub(started.elapsed())).await;
    let (again, nothing) = (sent("k", &file).await.json(), sent("n", &none).await.json());
    assert_eq!(fates(&again), fates(&first));
    for at in [0, 1, 3] {
        assert_eq!(again["results"][at], first["results"][at]);
    }
    for settled in [&again["results"][2], &nothing["results"][0]] {
        let why = settled["problem"]["detail"].as_str().unwrap();
        assert!(why.starts_with("An earlier try of this request found this to be invalid"), "{why}");
    }
    assert_eq!(stored(server).await, 3);
    assert_eq!(sent("another", &file).await.json()["results"][2]["result"], "created");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_whole_chunks() {
    let server = Server::start().await;
    let mut file = String::from("shortCode,longUrl\n");
    for number in 0..2_500 {
        file += &format!("c{number},https://example.com/{number}\n");
    }
    // The code is known to be unknown before.
    assert_eq!(server.get("/c7").await.status, 404);
    server.store.hold_creates(Some(At::End));
    {
        let sent = send(&server, &server.key, "", &file);
        tokio::select! {
            _ = sent => panic!("it is held"),
            () = server.store.create_held() => {}
        }
    }
    until("hung up", || server.shortener.metrics().connections.get() == 0).await;
    server.store.hold_creates(None);
    until("done", || server.store.creating() == 0).await;
    let mut status = 404;
    while status == 404 {
        status = server.get("/c7").await.status.as_u16();
    }
    assert_eq!(status, 302, "what is stored reaches the cache");
    assert_eq!(stored(&server).await, 1_000, "no chunk in part");
}

#[tokio::test]
async fn keys_import_what_they_may_and_learn_nothing_of_others() {
    let server = Server::start().await;
    let key = async |role: Role| {
        let new = NewKey { roles: vec![role], ..NewKey::named("key") };
        keys::create(server.store.as_ref(), new).await.unwrap()
    };
    let (own_key, own) = key(Role::OwnLinks).await;
    let (_, create) = key(Role::CreateOnly).await;
    let (_, read) = key(Role::ReadOnly).await;
    let (_, domain) = key(Role::Domain { domain: "t.example".to_owned() }).await;
    server.link(&json!({ "longUrl": "https://example.com/", "customSlug": "admins" })).await;
    let file = "shortCode,longUrl,createdAt,visitsFrom\nadmins,https://example.com/,,\nx,https://x.example/,2020-01-01,2020-01-01\n";
    for dry in ["?dryRun=true", ""] {
        let answer = send(&server, &own, dry, file).await.json();
        assert_eq!(fates(&answer), ["taken", "created"], "that it leads to the same is nobody's business");
    }
    let answer = send(&server, &create, "", file).await.json();
    assert_eq!(fates(&answer), ["taken", "taken"]);
    assert_eq!(send(&server, &read, "?dryRun=true", file).await.status, 403);
    let answer = send(&server, &domain, "", file).await.json();
    assert_eq!(fates(&answer), ["created", "created"]);
    assert_eq!(answer["results"][0]["shortUrl"], "http://t.example/admins", "on the domain of the key");
    let found = server.store.inner.find(LinkRef::on_default("x"), Read::Latest).await.unwrap().unwrap();
    assert_eq!(found.owner, Some(own_key.owner));
    assert_eq!(found.created_at, 1_577_836_800);
    assert!(found.counts_from() > found.created_at, "visits of another link of this name stay that link's");
    let loops = "longUrl,redirectRules\nhttp://t.example/x,\nhttps://example.com/,\"[{\"\"longUrl\"\":\"\"http://t.example/x\"\",\
                 \"\"conditions\"\":[{\"\"type\"\":\"\"device\"\",\"\"matchValue\"\":\"\"ios\"\"}]}]\"\n";
    let answer = send(&server, &domain, "", loops).await.json();
    assert_eq!(fates(&answer), ["invalid", "invalid"], "{answer}");
    let file = file.replace("\nx,", "\ny,");
    import(&server, "", &file).await;
    let found = server.store.inner.find(LinkRef::on_default("y"), Read::Latest).await.unwrap().unwrap();
    assert_eq!(found.counts_from(), 1_577_836_800, "who sees all visits may have them counted again");
}
