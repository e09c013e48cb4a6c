//! The OpenAPI document against the routes.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn every_documented_operation_is_served_and_no_other() {
    let server = Server::start().await;
    let answer = server.get("/rest/v3/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for name in METHODS {
            let alias = json!({ "longUrl": "https://example.com/", "customSlug": "documented", "findIfExists": true });
            server.create(&alias).await;
            let method: Method = name.to_uppercase().parse().unwrap();
            let path = path.replace("{shortCode}", "documented");
            let sent = if name == "post" { json!({ "longUrl": "https://example.com/" }) } else { json!({}) };
            let answer = server.api(method, &path, &sent).await;
            let status = answer.status.as_u16();
            match item.get(name) {
                None => assert_eq!(status, 405, "{name} {path} is served and not documented"),
                Some(operation) => {
                    let content = &operation["responses"][status.to_string()];
                    assert!((200..300).contains(&status), "{name} {path}: {status}");
                    assert!(content.is_object(), "{name} {path}: {status} is not documented");
                    if let Some(types) = content["content"].as_object() {
                        assert!(types.contains_key(answer.header("content-type")), "{name} {path}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_property_is_documented() {
    let server = Server::start().await;
    let document = server.get("/rest/v3/openapi.json").await.json();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 10);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let made = server.create(&json!({ "longUrl": "https://example.com/" })).await.json();
    let schema = &document["components"]["schemas"]["ShortUrl"];
    let documented: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    let served: Vec<_> = made.as_object().unwrap().keys().collect();
    assert_eq!(documented, served);
    assert_eq!(schema["required"].as_array().unwrap().len(), served.len());
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get("$ref") {
                references.push(reference.clone());
            }
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
