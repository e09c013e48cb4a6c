//! Pages of links: filters, orders, cursors.

use std::sync::Arc;

use shortener::keys::ApiKey;
use shortener::link::{Cursor, Link, ListQuery, NewLink, Order};
use shortener::store::{Counted, LinkStore};

use crate::store::{create, everything, link, tagged, tags, target};

super::of_each_store!(
    filters_say_what_is_listed_and_counted,
    links_are_found_by_the_name_of_the_key_that_made_them,
    a_search_takes_every_character_as_it_is,
    a_search_finds_letters_of_all_alphabets,
    orders_are_those_of_bytes_and_ids,
    cursors_go_through_everything_once_while_links_are_added,
    crawlable_codes_are_the_newest_of_a_domain,
);

fn made_at(code: &str, at: i64, names: &[&str]) -> NewLink {
    let mut link = tagged(code, names);
    link.created_at = Some(at);
    link
}

async fn codes(store: &dyn LinkStore, set: impl FnOnce(&mut ListQuery)) -> String {
    let mut query = everything();
    set(&mut query);
    let page = store.list(&query).await.unwrap();
    assert_eq!(page.total, Some(page.links.len() as u64), "{query:?}");
    let mut named: Vec<_> = store.list_names(&query, 99).await.unwrap();
    named.sort_by_key(|(id, _)| page.links.iter().position(|link| link.id == *id));
    let of_page = |link: &Link| {
        let counted =
            Counted { domain: link.domain.clone(), code: link.code.clone(), from: link.counts_from() };
        (link.id, counted)
    };
    assert_eq!(named, page.links.iter().map(of_page).collect::<Vec<_>>(), "{query:?}");
    assert_eq!(store.list_names(&query, 1).await.unwrap().len(), page.links.len().min(1));
    page.links.iter().map(|link| link.code.as_str()).collect::<Vec<_>>().join(" ")
}

/// Tags wanted, whether all of them; tags not wanted, whether all of them; the codes listed.
type Case = (&'static [&'static str], bool, &'static [&'static str], bool, &'static str);

async fn filters_say_what_is_listed_and_counted(store: Arc<dyn LinkStore>) {
    let mut links = [
        made_at("a", 10, &["x"]),
        made_at("b", 20, &["x", "y"]),
        made_at("c", 30, &["y", "z"]),
        made_at("d", 40, &[]),
        made_at("e", 50, &["x", "y", "z"]),
    ];
    links[0].owner = Some("k1".to_owned());
    links[1].owner = Some("k1".to_owned());
    links[1].domain = "s.example".to_owned();
    links[2].settings.max_visits = Some(1);
    links[3].settings.valid_until = Some(100);
    let made = create(&*store, &links).await;
    let store = &*store;
    assert_eq!(codes(store, |_| ()).await, "a b c d e");
    assert_eq!(codes(store, |query| query.domain = Some(String::new())).await, "a c d e");
    assert_eq!(codes(store, |query| query.domain = Some("s.example".to_owned())).await, "b");
    assert_eq!(codes(store, |query| query.owner = Some("k1".to_owned())).await, "a b");
    let cases: [Case; 10] = [
        (&["x"], false, &[], false, "a b e"),
        (&["x", "z"], false, &[], false, "a b c e"),
        (&["x", "z"], true, &[], false, "e"),
        (&["x", "none"], false, &[], false, "a b e"),
        (&["x", "none"], true, &[], false, ""),
        (&[], false, &["x"], false, "c d"),
        (&[], false, &["x", "z"], false, "d"),
        (&[], false, &["x", "z"], true, "a b c d"),
        (&[], false, &["x", "none"], true, "a b c d e"),
        (&["y"], false, &["x"], false, "c"),
    ];
    for (with, all, without, without_all, expected) in cases {
        let set = |query: &mut ListQuery| {
            (query.tags, query.tags_all) = (tags(with), all);
            (query.exclude_tags, query.exclude_tags_all) = (tags(without), without_all);
        };
        assert_eq!(codes(store, set).await, expected, "{with:?} {all} {without:?} {without_all}");
    }
    let created = |query: &mut ListQuery| (query.created_from, query.created_to) = (Some(20), Some(40));
    assert_eq!(codes(store, created).await, "b c d");
    assert_eq!(codes(store, |query| query.exclude_exhausted = true).await, "a b c d e");
    assert!(store.take_visit(made[2].id).await.unwrap());
    assert_eq!(codes(store, |query| query.exclude_exhausted = true).await, "a b d e");
    assert_eq!(codes(store, |query| query.exclude_expired_at = Some(99)).await, "a b c d e");
    assert_eq!(codes(store, |query| query.exclude_expired_at = Some(100)).await, "a b c e");
    let mut page = everything();
    (page.offset, page.limit, page.descending) = (1, 2, true);
    let found = store.list(&page).await.unwrap();
    assert_eq!(found.total, Some(5));
    assert_eq!(found.links.iter().map(|link| link.id).collect::<Vec<_>>(), [made[3].id, made[2].id]);
    page.count = false;
    assert_eq!(store.list(&page).await.unwrap().total, None);
}

async fn links_are_found_by_the_name_of_the_key_that_made_them(store: Arc<dyn LinkStore>) {
    let store = &*store;
    // Two of one name, and one that was rotated into a second, which is no other maker.
    for (number, id, name, owner) in
        [(1, "k1", "one", "k1"), (2, "k2", "two", "k2"), (3, "k3", "two", "k3"), (4, "k4", "one", "k1")]
    {
        let key = ApiKey {
            id: id.to_owned(),
            name: name.to_owned(),
            owner: owner.to_owned(),
            roles: Vec::new(),
            created_at: 1,
            expires_at: None,
            revoked_at: None,
        };
        store.insert_key(&key, &[number; 32]).await.unwrap();
    }
    store.revoke_key("k2", 7).await.unwrap();
    let mut links = [tagged("a", &["x"]), tagged("b", &["x"]), tagged("c", &["y"]), tagged("d", &["x"])];
    for (link, owner) in links.iter_mut().zip([Some("k1"), Some("k2"), Some("k3"), None]) {
        link.owner = owner.map(str::to_owned);
    }
    create(store, &links).await;
    for (name, expected) in [("one", "a"), ("two", "b c"), ("One", ""), ("k1", ""), ("", "")] {
        assert_eq!(codes(store, |query| query.key_name = Some(name.to_owned())).await, expected, "{name}");
    }
    let two = |query: &mut ListQuery| query.key_name = Some("two".to_owned());
    let with = async |set: fn(&mut ListQuery)| {
        codes(store, |query| {
            two(query);
            set(query);
        })
        .await
    };
    assert_eq!(with(|query| query.owner = Some("k3".to_owned())).await, "c");
    assert_eq!(with(|query| query.owner = Some("k1".to_owned())).await, "");
    assert_eq!(with(|query| query.tags = tags(&["x"])).await, "b");
    assert_eq!(with(|query| query.search = Some("c".to_owned())).await, "b c", "all lead to example.com");
    assert_eq!(with(|query| query.created_from = Some(9_999_999_999)).await, "");
}

async fn a_search_takes_every_character_as_it_is(store: Arc<dyn LinkStore>) {
    let mut links = [link("Alpha_1"), link("beta"), tagged("gamma", &["searchable"]), link("delta")];
    links[1].target = target("https://example.com/100%25/Path?q=1");
    links[3].settings.title = Some("50% of_ALL \\ things".to_owned());
    create(&*store, &links).await;
    let cases = [
        ("alpha", "Alpha_1"),
        ("LPHA_", "Alpha_1"),
        ("a_1", "Alpha_1"),
        ("a%1", ""),
        ("0%2", "beta"),
        ("path?Q", "beta"),
        ("SEARCH", "gamma"),
        ("of_all \\ t", "delta"),
        ("0% o", "delta"),
        ("nothing", ""),
        ("ta", "beta delta"),
        ("e", "Alpha_1 beta gamma delta"),
    ];
    for (term, expected) in cases {
        assert_eq!(codes(&*store, |query| query.search = Some(term.to_owned())).await, expected, "{term}");
    }
}

async fn a_search_finds_letters_of_all_alphabets(store: Arc<dyn LinkStore>) {
    let mut links = [link("a"), link("ÜBER"), tagged("c", &["größe"]), tagged("d", &["ärger"])];
    links[0].settings.title = Some("Viel Ärger".to_owned());
    create(&*store, &links).await;
    for (term, expected) in [
        ("Ärger", "a d"),
        ("viel ÄRGER", "a"),
        ("über", ""),
        ("Über", "ÜBER"),
        ("größe", "c"),
        ("GRÖßE", "c"),
        ("ÄRG", "a d"),
        ("ärg", "d"),
    ] {
        assert_eq!(codes(&*store, |query| query.search = Some(term.to_owned())).await, expected, "{term}");
    }
}

async fn orders_are_those_of_bytes_and_ids(store: Arc<dyn LinkStore>) {
    let mut links =
        [made_at("b", 5, &[]), made_at("B", 5, &[]), made_at("a-", 1, &[]), made_at("a1", 9, &[])];
    for (link, (url, title)) in links.iter_mut().zip([
        ("https://z.example/", Some("Zeta")),
        ("https://a.example/", None),
        ("https://M.example/", Some("alpha")),
        ("https://a.example/", Some("")),
    ]) {
        (link.target, link.settings.title) = (target(url), title.map(str::to_owned));
    }
    create(&*store, &links).await;
    let cases = [
        (Order::Created, "a- b B a1"),
        (Order::Code, "B a- a1 b"),
        (Order::Target, "B a1 a- b"),
        (Order::Title, "B a1 b a-"),
    ];
    for (order, expected) in cases {
        assert_eq!(codes(&*store, |query| query.order = order).await, expected);
        let mut reversed: Vec<_> = expected.split(' ').collect();
        reversed.reverse();
        let down = |query: &mut ListQuery| (query.order, query.descending) = (order, true);
        assert_eq!(codes(&*store, down).await, reversed.join(" "));
    }
}

async fn cursors_go_through_everything_once_while_links_are_added(store: Arc<dyn LinkStore>) {
    let links: Vec<_> = (0..50_i64)
        .map(|at| {
            let mut link = made_at(&format!("c{:02}", at * 37 % 50), at / 7, &["all"]);
            link.settings.title = (at % 3 == 0).then(|| format!("t{}", at % 5));
            link
        })
        .collect();
    create(&*store, &links).await;
    let mut added = 0;
    for order in [Order::Created, Order::Code, Order::Target, Order::Title] {
        for descending in [false, true] {
            let mut seen = Vec::new();
            let mut query = everything();
            (query.order, query.descending, query.limit, query.tags) = (order, descending, 7, tags(&["all"]));
            loop {
                let page = store.list(&query).await.unwrap();
                let Some(last) = page.links.last() else { break };
                query.after = Some(Cursor::at(order, last));
                assert_eq!(page.total.is_some(), seen.is_empty(), "a cursor counts nothing");
                seen.extend(page.links.into_iter().map(|link| link.code));
                // Before and after the place, and not of those that are looked for.
                added += 1;
                create(
                    &*store,
                    &[made_at(&format!("a{added}"), 0, &[]), made_at(&format!("z{added}"), 99, &[])],
                )
                .await;
            }
            let count = seen.len();
            seen.sort();
            seen.dedup();
            assert_eq!((count, seen.len()), (50, 50), "{order:?} {descending}");
        }
    }
}

async fn crawlable_codes_are_the_newest_of_a_domain(store: Arc<dyn LinkStore>) {
    let links: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
        .iter()
        .map(|code| {
            let mut link = link(code);
            link.settings.crawlable = !matches!(*code, "b" | "f");
            link.domain =
                if matches!(*code, "d" | "f" | "g") { "s.example".to_owned() } else { String::new() };
            link
        })
        .collect();
    create(&*store, &links).await;
    for (domain, limit, codes) in [
        ("", 10, vec!["e", "c", "a"]),
        ("", 1, vec!["e"]),
        ("s.example", 10, vec!["g", "d"]),
        ("s.example", 1, vec!["g"]),
        ("t.example", 10, vec![]),
    ] {
        assert_eq!(store.crawlable(domain, limit).await.unwrap(), codes, "{domain} {limit}");
    }
}
