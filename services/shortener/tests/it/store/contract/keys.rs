//! Keys and domains.

use std::sync::Arc;

use shortener::domain::{Domain, DomainRedirects, DomainRedirectsEdit};
use shortener::keys::{ApiKey, Role};
use shortener::store::LinkStore;

use crate::store::{create, link, target};

super::of_each_store!(
    a_key_is_found_by_its_hash,
    a_key_is_revoked_once_and_expires_no_later,
    domains_are_those_with_links_or_redirects,
);

fn key(id: &str, created_at: i64) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        name: "a key".to_owned(),
        owner: "k0".to_owned(),
        roles: vec![Role::OwnLinks, Role::Domain { domain: "s.example".to_owned() }],
        created_at,
        expires_at: Some(5_000_000_000),
        revoked_at: None,
    }
}

async fn a_key_is_found_by_its_hash(store: Arc<dyn LinkStore>) {
    let (one, two) = (key("k1", 200), ApiKey { roles: vec![], expires_at: None, ..key("k2", 100) });
    store.insert_key(&one, &[1; 32]).await.unwrap();
    store.insert_key(&two, &[2; 32]).await.unwrap();
    assert_eq!(store.find_key(&[1; 32]).await.unwrap(), Some((one.clone(), [1; 32])));
    assert_eq!(store.find_key(&[3; 32]).await.unwrap(), None);
    assert_eq!(store.list_keys().await.unwrap(), [two, one.clone()]);
    assert!(store.insert_key(&one, &[4; 32]).await.is_err(), "an id is given once");
}

async fn a_key_is_revoked_once_and_expires_no_later(store: Arc<dyn LinkStore>) {
    store.insert_key(&key("k1", 1), &[1; 32]).await.unwrap();
    store.insert_key(&ApiKey { expires_at: None, ..key("k2", 2) }, &[2; 32]).await.unwrap();
    for id in ["k1", "k2"] {
        assert!(store.expire_key(id, 4_000).await.unwrap());
        assert!(store.expire_key(id, 9_000).await.unwrap());
    }
    assert!(store.list_keys().await.unwrap().iter().all(|key| key.expires_at == Some(4_000)));
    assert!(store.revoke_key("k1", 7).await.unwrap());
    assert!(!store.revoke_key("k1", 8).await.unwrap());
    assert!(!store.expire_key("k1", 1).await.unwrap());
    assert!(!store.revoke_key("none", 7).await.unwrap());
    let (revoked, _) = store.find_key(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((revoked.revoked_at, revoked.expires_at), (Some(7), Some(4_000)));
}

async fn domains_are_those_with_links_or_redirects(store: Arc<dyn LinkStore>) {
    let names = |domains: Vec<Domain>| domains.into_iter().map(|domain| domain.authority).collect::<Vec<_>>();
    assert_eq!(names(store.domains().await.unwrap()), [""]);
    let mut new = link("a");
    new.domain = "b.example".to_owned();
    let made = create(&*store, &[new]).await.remove(0);
    assert_eq!(names(store.domains().await.unwrap()), ["", "b.example"]);
    let edit = DomainRedirectsEdit {
        base_url: Some(Some(target("https://base.example/"))),
        regular_404: Some(Some(target("https://lost.example/"))),
        invalid_short_url: None,
    };
    assert_eq!(store.set_domain_redirects("unknown.example", &edit).await.unwrap(), None);
    let expected = DomainRedirects {
        base_url: Some("https://base.example/".to_owned()),
        regular_404: Some("https://lost.example/".to_owned()),
        invalid_short_url: None,
    };
    for authority in ["", "b.example"] {
        let set = store.set_domain_redirects(authority, &edit).await.unwrap().unwrap();
        assert_eq!((set.authority.as_str(), &set.redirects), (authority, &expected));
    }
    let clear = DomainRedirectsEdit { base_url: Some(None), ..DomainRedirectsEdit::default() };
    let set = store.set_domain_redirects("b.example", &clear).await.unwrap().unwrap();
    assert_eq!(set.redirects, DomainRedirects { base_url: None, ..expected.clone() });
    assert_eq!(store.domains().await.unwrap()[0].redirects, expected);
    // It stays for its redirects, and goes with them.
    store.delete(made.name(), None).await.unwrap();
    assert_eq!(names(store.domains().await.unwrap()), ["", "b.example"]);
    let clear = DomainRedirectsEdit { regular_404: Some(None), ..DomainRedirectsEdit::default() };
    assert!(store.set_domain_redirects("b.example", &clear).await.unwrap().is_some());
    assert_eq!(names(store.domains().await.unwrap()), [""]);
    assert_eq!(store.set_domain_redirects("b.example", &edit).await.unwrap(), None);
}
