//! Creates links through the management API, as any client would, before traffic is sent to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::connection::{Connection, Target};
use crate::error::LoadError;

/// Enough to keep a service with one writer busy.
const CONNECTIONS: usize = 8;
/// What is quoted of a refusal.
const BODY_SHOWN_BYTES: usize = 400;

/// A link to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// Where it leads.
    pub long_url: String,
    /// Its code; one is generated where there is none.
    pub custom_slug: Option<String>,
    /// Its title.
    pub title: Option<String>,
}

/// The code of a created link, or why the service refused it.
pub type Created = Result<String, LoadError>;

/// Creates links and returns their codes in the same order. A code that is taken counts as created where we chose
/// it: it is from a replay before.
///
/// # Errors
/// When the service cannot be reached. What it refuses is in the list.
pub async fn create(target: &Target, links: Vec<NewLink>) -> Result<Vec<Created>, LoadError> {
    let mut codes: Vec<Created> = links.iter().map(|_| Ok(String::new())).collect();
    let links = Arc::new(links);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..CONNECTIONS.min(links.len()) {
        workers.spawn(work(target.clone(), Arc::clone(&links), Arc::clone(&next)));
    }
    while let Some(created) = workers.join_next().await {
        let created =
            created.map_err(std::io::Error::other).map_err(|source| unreachable_at(target, source))??;
        for (index, code) in created {
            codes[index] = code;
        }
    }
    Ok(codes)
}

fn unreachable_at(target: &Target, source: std::io::Error) -> LoadError {
    LoadError::Unreachable { address: target.address.clone(), source }
}

async fn work(
    target: Target,
    links: Arc<Vec<NewLink>>,
    next: Arc<AtomicUsize>,
) -> Result<Vec<(usize, Created)>, LoadError> {
    let open = || async {
        Connection::open(&target.address).await.map_err(|source| unreachable_at(&target, source))
    };
    let mut connection = open().await?;
    let mut created = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(link) = links.get(index) else { return Ok(created) };
        let request = render(&target, link);
        let answer = async {
            connection.send(request.as_bytes()).await?;
            connection.receive(false).await
        };
        let answer = answer.await.map_err(|source| unreachable_at(&target, source))?;
        created.push((index, code(link, answer.status, connection.body())));
        if answer.closes {
            connection = open().await?;
        }
    }
}

fn render(target: &Target, link: &NewLink) -> String {
    let mut body = json!({ "longUrl": link.long_url });
    if let Some(slug) = &link.custom_slug {
        body["customSlug"] = json!(slug);
    }
    if let Some(title) = &link.title {
        body["title"] = json!(title);
    }
    let body = body.to_string();
    format!(
        "POST /rest/v3/short-urls HTTP/1.1\r\nHost: {}\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        target.address,
        target.api_key,
        body.len(),
    )
}

/// The code in an answer.
fn code(link: &NewLink, status: u16, body: &[u8]) -> Created {
    let start = body.iter().position(|byte| *byte == b'{').unwrap_or(0);
    // A chunked body has its framing around the object; the first value is what we want.
    let value = serde_json::Deserializer::from_slice(&body[start..]).into_iter::<Value>().next();
    let value = value.and_then(Result::ok).unwrap_or_default();
    if let (200 | 201, Some(code)) = (status, value["shortCode"].as_str()) {
        return Ok(code.to_owned());
    }
    // Shlink's problem type for a slug that is taken, in both of its spellings.
    let kind = value["type"].as_str().unwrap_or_default();
    match (&link.custom_slug, kind.ends_with("non-unique-slug") || kind.ends_with("INVALID_SLUG")) {
        (Some(slug), true) => Ok(slug.clone()),
        _ => {
            let shown = &body[..body.len().min(BODY_SHOWN_BYTES)];
            Err(LoadError::Refused { status, body: String::from_utf8_lossy(shown).into_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NewLink, code};

    #[test]
    fn answers() {
        let named = NewLink { long_url: String::new(), custom_slug: Some("abc".to_owned()), title: None };
        let unnamed = NewLink { custom_slug: None, ..named.clone() };
        let created = br#"{"shortCode":"xyz","shortUrl":"http://h/xyz"}"#;
        assert_eq!(code(&unnamed, 200, created).unwrap(), "xyz");
        assert_eq!(
            code(&unnamed, 201, &[b"2d\r\n", created.as_slice(), b"\r\n0\r\n\r\n"].concat()).unwrap(),
            "xyz"
        );
        let taken = br#"{"type":"https://shlink.io/api/error/non-unique-slug","status":400}"#;
        assert_eq!(code(&named, 400, taken).unwrap(), "abc");
        assert!(code(&unnamed, 400, taken).is_err());
        for (status, body) in [(401, &b"{}"[..]), (500, created), (200, b"<html>"), (200, b"")] {
            assert!(code(&named, status, body).is_err(), "{status}");
        }
    }
}
