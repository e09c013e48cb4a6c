//! What is changed, changes once, for whom it was meant, and leaves a history.

use std::sync::Arc;

use shortener::link::{Link, LinkEdit, LinkRef, Visited};
use shortener::rule::{Condition, Rule};
use shortener::store::{Changed, Counted, LinkStore, Read, Selection};

use crate::store::{create, link, tagged, tags, target};

super::of_each_store!(
    a_change_is_all_that_changes,
    a_new_target_goes_into_the_history,
    rules_go_into_the_history,
    a_limit_begins_with_the_visits_so_far,
    a_change_is_made_to_the_state_it_was_meant_for,
    a_change_is_not_made_to_a_link_that_took_the_name,
    what_is_deleted_is_gone,
    names_say_since_when_visits_count,
    orphan_visits_stay_deleted,
);

fn done(changed: Changed) -> Link {
    match changed {
        Changed::Done(link) => link,
        other => panic!("{other:?}"),
    }
}

async fn a_change_is_all_that_changes(store: Arc<dyn LinkStore>) {
    let mut new = tagged("a", &["x", "y"]);
    new.settings.title = Some("title".to_owned());
    new.settings.max_visits = Some(3);
    let made = create(&*store, &[new, tagged("b", &["x"])]).await.remove(0);
    let unchanged = done(store.edit(made.name(), &LinkEdit::default()).await.unwrap());
    let mut expected = made.clone();
    expected.revision = 2;
    assert_eq!(unchanged, expected);
    let edit = LinkEdit {
        title: Some(None),
        tags: Some(tags(&["y", "z"])),
        valid_until: Some(Some(9)),
        max_visits: Some(Some(4)),
        crawlable: Some(true),
        visits_from: Some(77),
        rules: Some(Vec::new()),
        ..LinkEdit::default()
    };
    let edited = done(store.edit(made.name(), &edit).await.unwrap());
    edit.apply(&mut expected);
    assert_eq!(edited, expected);
    assert_eq!((edited.version, edited.revision, edited.visits_from), (1, 3, Some(77)));
    assert_eq!(store.find(made.name(), Read::Latest).await.unwrap(), Some(expected));
    let none = store.edit(LinkRef::on_default("none"), &edit).await.unwrap();
    assert_eq!(none, Changed::NotFound);
    let without = LinkEdit { tags: Some(tags(&[])), ..LinkEdit::default() };
    assert!(done(store.edit(made.name(), &without).await.unwrap()).settings.tags.is_empty());
    let counts = store.tags(None, None).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|tag| (tag.name.as_str(), tag.links)).collect();
    assert_eq!(counts, [("x", 1)]);
}

async fn a_new_target_goes_into_the_history(store: Arc<dyn LinkStore>) {
    let mut new = link("a");
    (new.owner, new.created_at) = (Some("k1".to_owned()), Some(1_000));
    let made = create(&*store, &[new]).await.remove(0);
    for (url, by) in
        [("https://one.example/", "k2"), ("https://one.example/", "k3"), ("https://two.example/", "k3")]
    {
        let edit = LinkEdit { target: Some(target(url)), by: Some(by.to_owned()), ..LinkEdit::default() };
        done(store.edit(made.name(), &edit).await.unwrap());
    }
    let now = store.find(made.name(), Read::Latest).await.unwrap().unwrap();
    assert_eq!((now.target.as_str(), now.version, now.revision), ("https://two.example/", 3, 4));
    let history = store.history(made.id, None, 9).await.unwrap();
    let seen: Vec<_> =
        history.iter().map(|past| (past.version, past.target.as_str(), past.owner.as_deref())).collect();
    let expected = [
        (3, "https://two.example/", Some("k3")),
        (2, "https://one.example/", Some("k2")),
        (1, "https://example.com/a", Some("k1")),
    ];
    assert_eq!(seen, expected);
    assert!(history.iter().all(|past| past.rules == Some(Vec::new())));
    assert_eq!(history[2].since, 1_000);
    assert!(history[1].since > 1_700_000_000 && history[0].since >= history[1].since);
    // It is found by its new target, and not by the old one.
    let by = shortener::link::Match::default();
    assert!(store.find_match("https://two.example/", &by).await.unwrap().is_some());
    assert_eq!(store.find_match("https://example.com/a", &by).await.unwrap(), None);
}

async fn rules_go_into_the_history(store: Arc<dyn LinkStore>) {
    let rules = |n: usize| -> Vec<Rule> {
        let conditions = vec![Condition::AnyValueQueryParam { name: "a\0".to_owned() }];
        (0..n)
            .map(|at| Rule { target: format!("https://{at}.example/"), conditions: conditions.clone() })
            .collect()
    };
    let mut new = link("a");
    (new.rules, new.created_at) = (rules(1), Some(1_000));
    let made = create(&*store, &[new, link("b")]).await.remove(0);
    // Of several changes that are made at once there is one version.
    let both =
        LinkEdit { rules: Some(rules(2)), target: Some(target("https://x.example/")), ..LinkEdit::default() };
    let again = LinkEdit { rules: Some(rules(2)), ..LinkEdit::default() };
    let none = LinkEdit { rules: Some(Vec::new()), by: Some("k2".to_owned()), ..LinkEdit::default() };
    for (edit, version) in [(both, 2), (again, 2), (none, 3), (LinkEdit::default(), 3)] {
        assert_eq!(done(store.edit(made.name(), &edit).await.unwrap()).version, version);
    }
    let history = store.history(made.id, None, 9).await.unwrap();
    let seen: Vec<_> = history.iter().map(|past| (past.version, past.rules.clone().unwrap())).collect();
    assert_eq!(seen, [(3, rules(0)), (2, rules(2)), (1, rules(1))]);
    assert_eq!((history[0].target.as_str(), history[0].owner.as_deref()), ("https://x.example/", Some("k2")));
    // It was made before there was this history, as its creation says.
    let known: Vec<_> = history.iter().map(|past| past.rules_since.is_some()).collect();
    assert_eq!(known, [false, false, true]);
    // In part.
    assert_eq!(store.history(made.id, None, 2).await.unwrap(), history[..2]);
    assert_eq!(store.history(made.id, Some(3), 1).await.unwrap(), history[1..2]);
    assert_eq!(store.history(made.id, Some(2), 9).await.unwrap(), history[2..]);
    assert!(store.history(made.id, Some(1), 9).await.unwrap().is_empty());
    let mut some = store.versions(made.id, &[1, 3, 4, u32::MAX]).await.unwrap();
    some.sort_by_key(|past| past.version);
    assert_eq!(some, [history[2].clone(), history[0].clone()]);
    assert!(store.versions(made.id, &[]).await.unwrap().is_empty());
}

async fn a_limit_begins_with_the_visits_so_far(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[link("a")]).await.remove(0);
    let limit = |max, visits: Option<i64>| LinkEdit {
        max_visits: Some(max),
        visits: visits.map(|visits| Visited { link_id: made.id, visits }),
        ..LinkEdit::default()
    };
    let edit = async |edit: LinkEdit| done(store.edit(made.name(), &edit).await.unwrap()).visits;
    let left = async || {
        let mut taken = 0;
        while store.take_visit(made.id).await.unwrap() {
            taken += 1;
        }
        taken
    };
    assert_eq!(edit(limit(Some(5), Some(3))).await, 3);
    assert_eq!(store.find(made.name(), Read::Latest).await.unwrap().unwrap().visits, 3);
    assert_eq!(left().await, 2);
    // It goes on where it is only moved.
    assert_eq!(edit(limit(Some(7), Some(100))).await, 5);
    assert_eq!(left().await, 2);
    // What was counted here is never less.
    edit(limit(None, None)).await;
    assert_eq!(edit(limit(Some(8), Some(2))).await, 7);
    assert_eq!(left().await, 1);
    edit(limit(None, None)).await;
    let of_another = Visited { link_id: made.id - 1, visits: 99 };
    assert_eq!(edit(LinkEdit { visits: Some(of_another), ..limit(Some(8), None) }).await, 8);
    edit(limit(None, None)).await;
    assert_eq!(edit(limit(Some(9), Some(50))).await, 50);
    assert_eq!(left().await, 0);
}

async fn a_change_is_made_to_the_state_it_was_meant_for(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[link("a")]).await.remove(0);
    let edit = |title: &str, link: &Link| LinkEdit {
        title: Some(Some(title.to_owned())),
        if_state: Some(link.state()),
        ..LinkEdit::default()
    };
    let second = done(store.edit(made.name(), &edit("one", &made)).await.unwrap());
    let refused = Changed::Conflict(second.clone());
    assert_eq!(store.edit(made.name(), &edit("two", &made)).await.unwrap(), refused);
    assert_eq!(store.delete(made.name(), Some(made.state())).await.unwrap(), refused);
    assert_eq!(store.find(made.name(), Read::Latest).await.unwrap(), Some(second.clone()));
    assert_eq!(store.delete(made.name(), Some(second.state())).await.unwrap(), Changed::Done(second));
}

async fn a_change_is_not_made_to_a_link_that_took_the_name(store: Arc<dyn LinkStore>) {
    let old = create(&*store, &[link("a")]).await.remove(0);
    store.delete(old.name(), None).await.unwrap();
    let new = create(&*store, &[link("a")]).await.remove(0);
    assert_eq!((old.name(), old.revision), (new.name(), new.revision));
    let refused = Changed::Conflict(new.clone());
    let edit = LinkEdit { title: Some(None), if_state: Some(old.state()), ..LinkEdit::default() };
    assert_eq!(store.edit(old.name(), &edit).await.unwrap(), refused);
    assert_eq!(store.delete(old.name(), Some(old.state())).await.unwrap(), refused);
    assert_eq!(store.find(new.name(), Read::Latest).await.unwrap(), Some(new));
}

async fn what_is_deleted_is_gone(store: Arc<dyn LinkStore>) {
    let mut new = tagged("a", &["x"]);
    new.settings.max_visits = Some(5);
    let made = create(&*store, &[new.clone(), tagged("b", &["x"])]).await.remove(0);
    assert!(store.take_visit(made.id).await.unwrap());
    let last = done(store.delete(made.name(), None).await.unwrap());
    assert_eq!((last.id, last.visits), (made.id, 1));
    assert_eq!(store.delete(made.name(), None).await.unwrap(), Changed::NotFound);
    assert_eq!(store.find(made.name(), Read::Latest).await.unwrap(), None);
    assert!(store.history(made.id, None, 9).await.unwrap().is_empty());
    assert!(!store.take_visit(made.id).await.unwrap());
    assert_eq!(store.tags(None, None).await.unwrap()[0].links, 1);
    let again = create(&*store, &[new]).await.remove(0);
    assert!(again.id > made.id && again.visits == 0 && again.revision == 1);
    assert_eq!(store.count(None).await.unwrap(), 2);
}

async fn names_say_since_when_visits_count(store: Arc<dyn LinkStore>) {
    let given = [("a", "k1", ""), ("b", "k1", "s.example"), ("c", "k2", "")].map(|(code, owner, domain)| {
        let mut link = tagged(code, if code == "c" { &["y"] } else { &["x"] });
        (link.owner, link.domain, link.created_at) = (Some(owner.to_owned()), domain.to_owned(), Some(100));
        link
    });
    let made = create(&*store, &given).await;
    let from = LinkEdit { visits_from: Some(500), ..LinkEdit::default() };
    store.edit(made[0].name(), &from).await.unwrap();
    let counted = |domain: &str, code: &str, from| Counted { domain: domain.into(), code: code.into(), from };
    let (a, b, c) = (counted("", "a", 500), counted("s.example", "b", 100), counted("", "c", 100));
    let of = |tag: &str, domain: Option<&str>, owner: &str| Selection {
        tag: (!tag.is_empty()).then(|| tag.to_owned()),
        domain: domain.map(str::to_owned),
        owner: (!owner.is_empty()).then(|| owner.to_owned()),
    };
    let all = store.names(&Selection::default(), 10).await.unwrap();
    assert_eq!(all, [c.clone(), b.clone(), a.clone()]);
    assert_eq!(store.names(&Selection::default(), 2).await.unwrap(), [c.clone(), b.clone()]);
    assert_eq!(store.names(&of("x", None, ""), 10).await.unwrap(), [b.clone(), a.clone()]);
    assert_eq!(store.names(&of("x", Some(""), "k1"), 10).await.unwrap(), [a]);
    assert_eq!(store.names(&of("", Some("s.example"), ""), 10).await.unwrap(), [b]);
    assert_eq!(store.names(&of("", None, "k2"), 10).await.unwrap(), [c]);
    assert!(store.names(&of("none", None, ""), 10).await.unwrap().is_empty());
    // What was deleted stays so, also when the link is gone.
    for (place, at) in [(0, 400), (1, 600)] {
        let from = LinkEdit { visits_from: Some(at), ..LinkEdit::default() };
        store.edit(made[place].name(), &from).await.unwrap();
    }
    store.delete(made[0].name(), None).await.unwrap();
    let (a, b) = (counted("", "a", 500), counted("s.example", "b", 600));
    for (domain, limit, expected) in [
        (None, 9, vec![&b, &a]),
        (None, 1, vec![&b]),
        (Some(""), 9, vec![&a]),
        (Some("t.example"), 9, vec![]),
    ] {
        let deleted = store.deleted_visits(domain, limit).await.unwrap();
        assert_eq!(deleted.iter().collect::<Vec<_>>(), expected, "{domain:?} {limit}");
    }
}

async fn orphan_visits_stay_deleted(store: Arc<dyn LinkStore>) {
    assert_eq!(store.orphan_visits_from().await.unwrap(), None);
    for (at, expected) in [(100, 100), (300, 300), (200, 300)] {
        store.set_orphan_visits_from(at).await.unwrap();
        assert_eq!(store.orphan_visits_from().await.unwrap(), Some(expected));
    }
}
