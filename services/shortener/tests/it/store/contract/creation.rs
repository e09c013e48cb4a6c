//! What is created is found as it was given, once.

use std::sync::Arc;

use shortener::link::{LinkRef, Match, NewLink, RedirectStatus};
use shortener::rule::{Condition, Device, Rule};
use shortener::store::{Created, Creation, LinkStore, Read};

use crate::store::{create, create_one, link, tagged, tags, target};

super::of_each_store!(
    a_link_is_found_as_it_was_given,
    an_alias_is_given_once_a_domain,
    a_collision_of_a_generated_alias_stores_nothing,
    an_equal_link_is_found_instead,
    an_equal_link_has_every_field_that_is_named,
    an_equal_link_is_found_among_any_number_of_others,
    a_bulk_takes_each_for_itself,
    many_are_found_at_once,
    codes_are_leased_once,
    a_secret_is_the_first_one,
);

fn full(code: &str) -> NewLink {
    let mut link = tagged(code, &["news", "ünïcode"]);
    link.domain = "s.example".to_owned();
    link.owner = Some("k1".to_owned());
    link.created_at = Some(1_600_000_000);
    link.visits_from = Some(1_700_000_000);
    link.settings.title = Some("A % title_ with \\ 'quotes'".to_owned());
    link.settings.valid_since = Some(1_500_000_000);
    link.settings.valid_until = Some(4_000_000_000);
    link.settings.max_visits = Some(7);
    link.settings.crawlable = true;
    link.settings.forward_query = false;
    link.settings.redirect_status = Some(RedirectStatus::Permanent);
    link.settings.cache_lifetime_s = Some(u32::MAX);
    let conditions = vec![Condition::Device { device: Device::Ios }, Condition::Before { at: 5 }];
    link.rules = vec![Rule { target: "https://ios.example/".to_owned(), conditions }];
    link
}

async fn a_link_is_found_as_it_was_given(store: Arc<dyn LinkStore>) {
    let given = [full("full"), link("plain")];
    let made = create(&*store, &given).await;
    for (given, made) in given.iter().zip(&made) {
        assert_eq!((&made.domain, &made.code, &made.owner), (&given.domain, &given.code, &given.owner));
        assert_eq!((made.target.as_str(), &made.settings), (given.target.as_str(), &given.settings));
        assert_eq!((made.version, made.revision, made.visits), (1, 1, 0));
        assert_eq!(made.visits_from, given.visits_from);
        assert_eq!(made.rules, given.rules);
        for read in [Read::Latest, Read::Recent] {
            assert_eq!(store.find(made.name(), read).await.unwrap().as_ref(), Some(made));
        }
    }
    assert_eq!(made[0].created_at, 1_600_000_000);
    assert!(made[1].created_at > 1_700_000_000 && made[0].id < made[1].id);
    assert_eq!(store.find(LinkRef::on_default("full"), Read::Latest).await.unwrap(), None);
    let history = store.history(made[0].id, None, 9).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].version, history[0].since), (1, 1_600_000_000));
    assert_eq!(history[0].owner.as_deref(), Some("k1"));
}

async fn an_alias_is_given_once_a_domain(store: Arc<dyn LinkStore>) {
    create(&*store, &[link("a")]).await;
    assert_eq!(create_one(&*store, link("a")).await, Created::Taken);
    let mut elsewhere = link("a");
    elsewhere.domain = "s.example".to_owned();
    create(&*store, &[elsewhere, link("A"), link("b")]).await;
    let codes = ["a", "A", "b", "c"].map(str::to_owned);
    let mut taken = store.taken("", &codes).await.unwrap();
    taken.sort();
    assert_eq!(taken, ["A", "a", "b"]);
    assert_eq!(store.taken("s.example", &codes).await.unwrap(), ["a"]);
    assert_eq!(store.count(None).await.unwrap(), 4);
}

async fn a_collision_of_a_generated_alias_stores_nothing(store: Arc<dyn LinkStore>) {
    create(&*store, &[link("b")]).await;
    let mut generated = [link("a"), link("b"), link("c"), link("c")];
    generated.iter_mut().for_each(|link| link.generated = true);
    assert_eq!(store.create(&generated, None).await.unwrap(), Creation::Collided(vec![1, 3]));
    assert_eq!(store.count(None).await.unwrap(), 1);
    assert_eq!(store.find(LinkRef::on_default("a"), Read::Latest).await.unwrap(), None);
}

async fn an_equal_link_is_found_instead(store: Arc<dyn LinkStore>) {
    let wanted = |code: &str, by: Match| {
        let mut link = tagged(code, &["x", "y"]);
        link.target = target("https://example.com/same");
        link.unless = Some(by);
        link
    };
    let first = create(&*store, &[wanted("one", Match::default())]).await.remove(0);
    let by = |set: fn(&mut Match)| {
        let mut by = Match::default();
        set(&mut by);
        by
    };
    let equal = [
        Match::default(),
        by(|by| by.code = Some("one".to_owned())),
        by(|by| by.tags = Some(tags(&["x", "y"]))),
    ];
    for by in equal {
        assert_eq!(store.find_match(first.target.as_str(), &by).await.unwrap().as_ref(), Some(&first));
        assert_eq!(create_one(&*store, wanted("never", by)).await, Created::Found(first.clone()));
    }
    let other = [
        by(|by| by.code = Some("two".to_owned())),
        by(|by| by.tags = Some(tags(&["x"]))),
        by(|by| by.title = Some("t".to_owned())),
        by(|by| by.domain = "s.example".to_owned()),
        by(|by| by.owner = Some("k1".to_owned())),
        by(|by| by.max_visits = Some(1)),
    ];
    for (at, by) in other.into_iter().enumerate() {
        assert_eq!(store.find_match(first.target.as_str(), &by).await.unwrap(), None, "{by:?}");
        let made = create_one(&*store, wanted(&format!("other-{at}"), by)).await;
        assert!(matches!(made, Created::New(_)), "{made:?}");
    }
    // Several are equal: the newest.
    let found = store.find_match(first.target.as_str(), &Match::default()).await.unwrap().unwrap();
    assert_eq!(found.code, "other-5");
}

/// Names fields that a link has to have.
type Naming = fn(&mut Match);

async fn an_equal_link_has_every_field_that_is_named(store: Arc<dyn LinkStore>) {
    let plain = create(&*store, &[link("plain")]).await.remove(0);
    let mut set = full("set");
    set.domain = plain.domain.clone();
    set.target = target(&plain.target);
    let set = create(&*store, &[set]).await.remove(0);
    // What each of the two links has, and what neither has.
    let cases: [(Naming, Option<&str>); 14] = [
        (|by| by.crawlable = Some(false), Some("plain")),
        (|by| by.crawlable = Some(true), Some("set")),
        (|by| by.forward_query = Some(true), Some("plain")),
        (|by| by.forward_query = Some(false), Some("set")),
        (|by| by.redirect_status = Some(RedirectStatus::Permanent), Some("set")),
        (|by| by.redirect_status = Some(RedirectStatus::Found), None),
        (|by| by.cache_lifetime_s = Some(u32::MAX), Some("set")),
        (|by| by.cache_lifetime_s = Some(0), None),
        (|by| by.title = Some("other".to_owned()), None),
        (|by| by.valid_since = Some(1_500_000_000), Some("set")),
        (|by| by.valid_until = Some(1_500_000_000), None),
        (|by| (by.crawlable, by.forward_query) = (Some(true), Some(true)), None),
        (|by| (by.crawlable, by.max_visits) = (Some(true), Some(7)), Some("set")),
        (|_| {}, Some("set")),
    ];
    let mut wanted = Vec::new();
    for (at, (name, expected)) in cases.into_iter().enumerate() {
        let mut by = Match::default();
        name(&mut by);
        let found = store.find_match(&plain.target, &by).await.unwrap().map(|link| link.code);
        assert_eq!(found.as_deref(), expected, "{by:?}");
        // Those that find one, in one call.
        if expected.is_some() {
            wanted.push(NewLink {
                unless: Some(by),
                target: target(&plain.target),
                ..link(&format!("n{at}"))
            });
        }
    }
    let Creation::Done(made) = store.create(&wanted, None).await.unwrap() else { panic!("none collides") };
    assert!(
        made.iter().all(|made| [&plain, &set].iter().any(|link| *made == Created::Found((*link).clone())))
    );
}

async fn an_equal_link_is_found_among_any_number_of_others(store: Arc<dyn LinkStore>) {
    let same = |code: String, names: &[&str]| {
        let mut link = tagged(&code, names);
        link.target = target("https://example.com/same");
        link
    };
    let first = create(&*store, &[same("first".to_owned(), &["b", "a", "c"])]).await.remove(0);
    let others: Vec<_> = (0..1_100).map(|at| same(format!("other-{at}"), &["a", "b"])).collect();
    create(&*store, &others).await;
    let by = Match { tags: Some(tags(&["a", "b", "c"])), ..Match::default() };
    assert_eq!(store.find_match(first.target.as_str(), &by).await.unwrap(), Some(first.clone()));
    // In one call with others that want something else.
    let mut wanted = [same("x".to_owned(), &[]), link("y"), same("z".to_owned(), &["none"])];
    wanted[0].unless = Some(by);
    wanted[2].unless = Some(Match { tags: Some(tags(&["none"])), ..Match::default() });
    let Creation::Done(made) = store.create(&wanted, None).await.unwrap() else { panic!("none collides") };
    assert_eq!(made[0], Created::Found(first));
    assert!(matches!((&made[1], &made[2]), (Created::New(_), Created::New(_))), "{made:?}");
}

async fn a_bulk_takes_each_for_itself(store: Arc<dyn LinkStore>) {
    create(&*store, &[link("taken")]).await;
    let equal = |code: &str| {
        let mut link = link(code);
        link.target = target("https://example.com/equal");
        link.unless = Some(Match::default());
        link
    };
    // Links are stored one after the other: also one of the same call can be in the way, or as good.
    let given = [link("z"), link("taken"), equal("e1"), link("a"), link("z"), equal("e2"), link("e2")];
    let Creation::Done(made) = store.create(&given, None).await.unwrap() else {
        panic!("nothing was stored")
    };
    let codes: Vec<_> = made
        .iter()
        .map(|made| match made {
            Created::New(link) => format!("new {}", link.code),
            Created::Found(link) => format!("found {}", link.code),
            Created::Taken => "taken".to_owned(),
        })
        .collect();
    assert_eq!(codes, ["new z", "taken", "new e1", "new a", "taken", "found e1", "new e2"]);
    let thousand: Vec<_> = (0..1000).map(|at| tagged(&format!("n{at}"), &["bulk", "all"])).collect();
    let made = create(&*store, &thousand).await;
    assert!(made.windows(2).all(|pair| pair[0].id < pair[1].id), "ids are in the order given");
    assert_eq!(store.count(None).await.unwrap(), 1005);
}

async fn many_are_found_at_once(store: Arc<dyn LinkStore>) {
    let mut other = link("b");
    other.domain = "s.example".to_owned();
    let made = create(&*store, &[link("a"), link("b"), other]).await;
    let names = [made[0].name(), made[2].name(), LinkRef::on_default("none")];
    let mut found = store.find_many(&names).await.unwrap();
    found.sort_by_key(|link| link.id);
    assert_eq!(found, [made[0].clone(), made[2].clone()]);
    let mut found = store.find_ids(&[made[2].id, made[1].id, 1 << 40]).await.unwrap();
    found.sort_by_key(|link| link.id);
    assert_eq!(found, made[1..]);
    assert!(store.find_many(&[]).await.unwrap().is_empty() && store.find_ids(&[]).await.unwrap().is_empty());
}

async fn codes_are_leased_once(store: Arc<dyn LinkStore>) {
    assert_eq!(store.lease(7, 100).await.unwrap(), 0..100);
    assert_eq!(store.lease(7, 50).await.unwrap(), 100..150);
    assert_eq!(store.lease(8, 10).await.unwrap(), 0..10);
    let leases = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.lease(9, 10).await.unwrap().start })
    });
    let mut starts = Vec::new();
    for lease in leases.collect::<Vec<_>>() {
        starts.push(lease.await.unwrap());
    }
    starts.sort_unstable();
    assert_eq!(starts, (0..20).map(|at| at * 10).collect::<Vec<_>>());
}

async fn a_secret_is_the_first_one(store: Arc<dyn LinkStore>) {
    assert_eq!(store.secret("one", [1; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.secret("one", [2; 32]).await.unwrap(), [1; 32]);
    assert_eq!(store.secret("two", [2; 32]).await.unwrap(), [2; 32]);
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.secret("one", [3; 32]).await.unwrap(), [1; 32]);
}
