//! Tags across all links.

use std::sync::Arc;

use shortener::link::{Link, LinkEdit, NewLink};
use shortener::store::{Changed, LinkStore, Read, Renamed, Selection};

use crate::store::{create, everything, tagged, tags};

super::of_each_store!(
    tags_are_counted_of_all_and_of_an_owner,
    a_renamed_tag_keeps_its_links,
    a_deleted_tag_is_on_no_link,
    links_with_a_changed_tag_have_another_revision,
);

fn owned(code: &str, owner: Option<&str>, names: &[&str]) -> NewLink {
    let mut link = tagged(code, names);
    link.owner = owner.map(str::to_owned);
    link
}

async fn counts(store: &dyn LinkStore, owner: Option<&str>) -> Vec<(String, u64)> {
    store.tags(owner, None).await.unwrap().into_iter().map(|tag| (tag.name, tag.links)).collect()
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|&(name, links)| (name.to_owned(), links)).collect()
}

async fn tags_are_counted_of_all_and_of_an_owner(store: Arc<dyn LinkStore>) {
    assert!(counts(&*store, None).await.is_empty());
    let links =
        [owned("a", Some("k1"), &["x", "Z"]), owned("b", Some("k2"), &["x", "y"]), owned("c", None, &["x"])];
    create(&*store, &links).await;
    assert_eq!(counts(&*store, None).await, pairs(&[("Z", 1), ("x", 3), ("y", 1)]));
    assert_eq!(counts(&*store, Some("k2")).await, pairs(&[("x", 1), ("y", 1)]));
    assert!(counts(&*store, Some("k3")).await.is_empty());
    let owners = [store.count(None), store.count(Some("k1")), store.count(Some("k3"))];
    for (count, expected) in owners.into_iter().zip([3, 1, 0]) {
        assert_eq!(count.await.unwrap(), expected);
    }
    let elsewhere = NewLink { domain: "s.example".to_owned(), ..owned("a", Some("k1"), &["y", "w"]) };
    create(&*store, &[elsewhere]).await;
    let of = async |owner, domain| {
        let found = store.tags(owner, domain).await.unwrap();
        found.into_iter().map(|tag| (tag.name, tag.links)).collect::<Vec<_>>()
    };
    assert_eq!(of(None, Some("s.example")).await, pairs(&[("w", 1), ("y", 1)]));
    assert_eq!(of(None, Some("")).await, pairs(&[("Z", 1), ("x", 3), ("y", 1)]));
    assert_eq!(of(Some("k1"), Some("")).await, pairs(&[("Z", 1), ("x", 1)]));
    let names = ["x", "y", "nobody"].map(str::to_owned);
    let tagged = async |domain: Option<&str>, owner: Option<&str>, limit| {
        let of = Selection { tag: None, domain: domain.map(str::to_owned), owner: owner.map(str::to_owned) };
        let pairs = store.tagged(&of, &names, limit).await.unwrap();
        let mut pairs: Vec<_> =
            pairs.into_iter().map(|(tag, link)| (tag, link.domain + "/" + &link.code)).collect();
        pairs.sort();
        pairs.iter().map(|(tag, link)| format!("{tag} {link}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(tagged(None, None, 9).await, "x /a, x /b, x /c, y /b, y s.example/a");
    assert_eq!(tagged(Some(""), Some("k2"), 9).await, "x /b, y /b");
    assert_eq!(tagged(None, None, 2).await.split(", ").count(), 2);
}

async fn a_renamed_tag_keeps_its_links(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[tagged("a", &["x", "y"]), tagged("b", &["x", "gone"])]).await;
    assert_eq!(store.rename_tag("none", "new").await.unwrap(), Renamed::NotFound);
    assert_eq!(store.rename_tag("x", "y").await.unwrap(), Renamed::Conflict);
    assert_eq!(store.rename_tag("x", "x").await.unwrap(), Renamed::Done);
    assert_eq!(store.rename_tag("x", "new").await.unwrap(), Renamed::Done);
    assert_eq!(counts(&*store, None).await, pairs(&[("gone", 1), ("new", 2), ("y", 1)]));
    let found = store.find(made[0].name(), Read::Latest).await.unwrap().unwrap();
    assert_eq!(found.settings.tags, tags(&["new", "y"]));
    let mut query = everything();
    query.tags = tags(&["new"]);
    assert_eq!(store.list(&query).await.unwrap().total, Some(2));
    // A tag that no link has is none: neither to rename nor in the way.
    let without = LinkEdit { tags: Some(tags(&["new"])), ..LinkEdit::default() };
    store.edit(made[1].name(), &without).await.unwrap();
    assert_eq!(store.rename_tag("gone", "other").await.unwrap(), Renamed::NotFound);
    assert_eq!(store.rename_tag("y", "gone").await.unwrap(), Renamed::Done);
    assert_eq!(counts(&*store, None).await, pairs(&[("gone", 1), ("new", 2)]));
    // The old name is free again.
    create(&*store, &[tagged("c", &["x"])]).await;
    assert_eq!(counts(&*store, None).await, pairs(&[("gone", 1), ("new", 2), ("x", 1)]));
}

async fn a_deleted_tag_is_on_no_link(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[tagged("a", &["x", "y"]), tagged("b", &["x"])]).await;
    store.delete_tags(&["x".to_owned(), "none".to_owned()]).await.unwrap();
    assert_eq!(counts(&*store, None).await, pairs(&[("y", 1)]));
    let found = store.find(made[0].name(), Read::Latest).await.unwrap().unwrap();
    assert_eq!(found.settings.tags, tags(&["y"]));
    let mut query = everything();
    query.tags = tags(&["x"]);
    let page = store.list(&query).await.unwrap();
    assert_eq!((page.links.len(), page.total), (0, Some(0)));
    // Deleting and changing links that had it counts nothing twice; the name can be used again.
    store.delete(made[1].name(), None).await.unwrap();
    let edit = LinkEdit { tags: Some(tags(&["x", "z"])), ..LinkEdit::default() };
    store.edit(made[0].name(), &edit).await.unwrap();
    assert_eq!(counts(&*store, None).await, pairs(&[("x", 1), ("z", 1)]));
    store.delete_tags(&[]).await.unwrap();
    assert_eq!(counts(&*store, None).await, pairs(&[("x", 1), ("z", 1)]));
}

async fn links_with_a_changed_tag_have_another_revision(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[tagged("a", &["x", "y"]), tagged("b", &["y"])]).await;
    store.rename_tag("x", "new").await.unwrap();
    let renamed = store.find(made[0].name(), Read::Latest).await.unwrap().unwrap();
    assert!(renamed.revision > 1, "{renamed:?}");
    assert_eq!(store.find(made[1].name(), Read::Latest).await.unwrap().unwrap().revision, 1);
    store.delete_tags(&["new".to_owned()]).await.unwrap();
    let deleted = store.find(made[0].name(), Read::Latest).await.unwrap().unwrap();
    assert!(deleted.revision > renamed.revision);
    let edit = |link: &Link| LinkEdit {
        tags: Some(tags(&["y", "z"])),
        if_state: Some(link.state()),
        ..LinkEdit::default()
    };
    let refused = store.edit(made[0].name(), &edit(&made[0])).await.unwrap();
    assert_eq!(refused, Changed::Conflict(deleted.clone()));
    let Changed::Done(edited) = store.edit(made[0].name(), &edit(&deleted)).await.unwrap() else {
        panic!("not made")
    };
    assert_eq!(edited.revision, deleted.revision + 1);
    assert_eq!(store.find(made[0].name(), Read::Latest).await.unwrap(), Some(edited));
    // A new link with a tag that has been changed begins as any other.
    store.rename_tag("y", "yes").await.unwrap();
    assert_eq!(create(&*store, &[tagged("c", &["yes"])]).await[0].revision, 1);
}
