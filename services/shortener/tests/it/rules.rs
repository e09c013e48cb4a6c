//! Redirect rules and the history of destinations, through the API.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

#[tokio::test]
async fn rules_are_set_and_read_as_in_shlink() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let path = format!("/rest/v3/short-urls/{code}/redirect-rules");
    let none = json!({ "defaultLongUrl": "https://example.com/", "redirectRules": [] });
    assert_eq!(server.api(Method::GET, &path, &Value::Null).await.json(), none);
    let device = json!({ "type": "device", "matchKey": null, "matchValue": "android" });
    let query = json!({ "type": "query-param", "matchKey": "utm", "matchValue": "x" });
    let browser = json!({ "type": "browser", "matchKey": null, "matchValue": "android_browser" });
    let sent = json!({ "redirectRules": [
        { "longUrl": "https://EXAMPLE.com/android", "conditions": [device] },
        { "longUrl": "https://example.com/both", "priority": 7, "conditions": [query, device, browser] },
    ] });
    let set = server.api(Method::POST, &path, &sent).await;
    assert_eq!(set.status, 200, "{}", set.text());
    let expected = json!({ "defaultLongUrl": "https://example.com/", "redirectRules": [
        { "longUrl": "https://example.com/android", "priority": 1, "conditions": [device] },
        { "longUrl": "https://example.com/both", "priority": 2, "conditions": [query, device, browser] },
    ] });
    assert_eq!(set.json(), expected);
    assert_eq!(server.api(Method::GET, &path, &Value::Null).await.json(), expected);
    let link = server.api(Method::GET, &format!("/rest/v3/short-urls/{code}"), &Value::Null).await.json();
    assert_eq!(link["hasRedirectRules"], true);
    assert_eq!(server.api(Method::PATCH, &path, &json!({ "redirectRules": [] })).await.json(), none);
}

#[tokio::test]
async fn rules_that_are_wrong_change_nothing() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/" })).await;
    let path = format!("/rest/v3/short-urls/{code}/redirect-rules");
    let condition = json!({ "type": "device", "matchValue": "ios" });
    let rule = |target: &str, conditions: Value| json!({ "longUrl": target, "conditions": conditions });
    let own = format!("http://{}/x", server.addr);
    let right = rule("https://example.com/a", json!([condition]));
    for (rules, why) in [
        (json!({}), "is not an array"),
        (json!([{}]), "rule 1: longUrl is no string"),
        (
            json!([right, rule("javascript:alert(1)", json!([condition]))]),
            "rule 2: longUrl has none of the schemes",
        ),
        (json!([rule(&own, json!([condition]))]), "leads to this service itself"),
        (json!([rule("https://example.com/", json!([]))]), "has not 1 to 20 conditions"),
        (json!([rule("https://example.com/", json!("x"))]), "conditions is no array"),
        (json!([rule("https://example.com/", json!([condition, 7]))]), "condition 2: is not an object"),
        (json!([rule("https://example.com/", json!(vec![&condition; 21]))]), "has not 1 to 20 conditions"),
        (json!(vec![&right; 21]), "holds more than 20 rules"),
    ] {
        let answer = server.api(Method::POST, &path, &json!({ "redirectRules": rules })).await;
        assert_eq!(answer.status, 400, "{rules}");
        let document = answer.json();
        assert_eq!(document["invalidElements"], json!(["redirectRules"]));
        let reason = document["reasons"]["redirectRules"].as_str().unwrap();
        assert!(reason.contains(why), "{rules}: {reason}");
    }
    let missing = server.api(Method::POST, &path, &json!({})).await;
    assert_eq!(
        (missing.status.as_u16(), missing.json()["reasons"]["redirectRules"].clone()),
        (400, json!("is missing"))
    );
    let rules = server.api(Method::GET, &path, &Value::Null).await.json();
    assert_eq!(rules["redirectRules"], json!([]));
    for method in [Method::GET, Method::POST] {
        let unknown = "/rest/v3/short-urls/unknown/redirect-rules";
        let answer = server.api(method, unknown, &json!({ "redirectRules": [] })).await;
        assert_eq!(answer.json()["type"], "https://shlink.io/api/error/short-url-not-found");
    }
}

#[tokio::test]
async fn every_version_is_remembered() {
    let server = Server::start().await;
    let code = server.link(&json!({ "longUrl": "https://example.com/1", "redirectStatus": 301 })).await;
    let path = format!("/rest/v3/short-urls/{code}");
    for edit in [
        json!({ "longUrl": "https://example.com/2", "redirectStatus": 308, "cacheLifetime": 60 }),
        json!({ "title": "the same" }),
        json!({ "longUrl": "https://example.com/1", "redirectStatus": null }),
    ] {
        assert_eq!(server.api(Method::PATCH, &path, &edit).await.status, 200, "{edit}");
    }
    let conditions = json!([{ "type": "device", "matchValue": "ios", "matchKey": null }]);
    let rules = json!([{ "longUrl": "https://example.com/ios", "conditions": conditions }]);
    for rules in [&rules, &rules, &json!([])] {
        let edit = json!({ "redirectRules": rules });
        let answer = server.api(Method::POST, &format!("{path}/redirect-rules"), &edit).await;
        assert_eq!(answer.status, 200, "{edit}");
    }
    let link = server.api(Method::GET, &path, &Value::Null).await.json();
    assert_eq!((&link["redirectStatus"], &link["cacheLifetime"]), (&Value::Null, &json!(60)));
    let answer = server.api(Method::GET, &format!("{path}/history"), &Value::Null).await.json();
    let data = answer["history"]["data"].as_array().unwrap();
    let found: Vec<_> = data.iter().map(|past| (past["version"].clone(), past["longUrl"].clone())).collect();
    let expected = [(5, 1), (4, 1), (3, 1), (2, 2), (1, 1)]
        .map(|(v, n)| (json!(v), json!(format!("https://example.com/{n}"))));
    assert_eq!(found, expected);
    let found: Vec<_> = data.iter().map(|past| past["redirectRules"].as_array().unwrap().len()).collect();
    assert_eq!(found, [0, 1, 0, 0, 0], "the same rules again are no version");
    assert_eq!(data[1]["redirectRules"][0]["conditions"], conditions);
    // Page by page.
    let (mut cursor, mut paged) = (String::new(), Vec::new());
    loop {
        let path = format!("{path}/history?itemsPerPage=2&cursor={cursor}");
        let page = server.api(Method::GET, &path, &Value::Null).await.json()["history"].take();
        let some = page["data"].as_array().unwrap();
        assert_eq!(page["pagination"]["itemsInCurrentPage"], some.len());
        paged.extend(some.iter().cloned());
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(&paged, data);
    let wrong =
        server.api(Method::GET, &format!("{path}/history?cursor=x&itemsPerPage=0"), &Value::Null).await;
    assert_eq!(
        (wrong.status.as_u16(), &wrong.json()["invalidElements"]),
        (400, &json!(["cursor", "itemsPerPage"]))
    );
    assert!(data.iter().all(|past| past["since"].as_str().unwrap().ends_with("+00:00")));
    let unknown = server.api(Method::GET, "/rest/v3/short-urls/unknown/history", &Value::Null).await;
    assert_eq!(unknown.status, 404);
}
