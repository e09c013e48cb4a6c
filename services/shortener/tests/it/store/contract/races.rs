//! What stays true when many do the same at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use shortener::link::{LinkEdit, Match};
use shortener::store::{Changed, Claim, Claimed, Created, LinkStore, Read};
use tokio::task::JoinSet;

use crate::store::{create, create_one, link, tagged, tags, target};

super::of_each_store!(
    one_of_many_gets_an_alias,
    many_equal_links_are_one,
    a_limit_is_exact,
    a_limit_may_be_lifted,
    one_of_many_claims_a_request,
    one_of_many_changes_of_a_revision_is_made,
    bulks_with_the_same_tags_do_not_lock_each_other_out,
    tags_are_counted_right_while_everything_changes,
);

async fn all<T: Send + 'static>(
    tasks: impl Iterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set = JoinSet::new();
    for task in tasks {
        set.spawn(task);
    }
    set.join_all().await
}

async fn one_of_many_gets_an_alias(store: Arc<dyn LinkStore>) {
    let made = all((0..200).map(|at| {
        let store = store.clone();
        async move {
            let mut link = tagged("alias", &["race"]);
            link.target = target(&format!("https://example.com/{at}"));
            create_one(&*store, link).await
        }
    }))
    .await;
    let new: Vec<_> = made.iter().filter(|made| matches!(made, Created::New(_))).collect();
    assert_eq!((new.len(), made.iter().filter(|made| **made == Created::Taken).count()), (1, 199));
    let Created::New(winner) = new[0] else { unreachable!() };
    assert_eq!(store.find(winner.name(), Read::Latest).await.unwrap().as_ref(), Some(winner));
    assert_eq!(store.count(None).await.unwrap(), 1);
    assert_eq!(store.tags(None, None).await.unwrap()[0].links, 1);
}

async fn many_equal_links_are_one(store: Arc<dyn LinkStore>) {
    let made = all((0..50).map(|at| {
        let store = store.clone();
        async move {
            let mut link = tagged(&format!("equal-{at}"), &["x"]);
            link.target = target("https://example.com/equal");
            link.unless = Some(Match::default());
            create_one(&*store, link).await
        }
    }))
    .await;
    let ids: Vec<_> = made
        .iter()
        .map(|made| match made {
            Created::New(link) | Created::Found(link) => link.id,
            Created::Taken => panic!("taken"),
        })
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(made.iter().filter(|made| matches!(made, Created::New(_))).count(), 1);
    assert_eq!(store.count(None).await.unwrap(), 1);
}

async fn a_limit_is_exact(store: Arc<dyn LinkStore>) {
    let mut new = link("limited");
    new.settings.max_visits = Some(100);
    let made = create(&*store, &[new]).await.remove(0);
    let taken = all((0..1000).map(|_| {
        let (store, id) = (store.clone(), made.id);
        async move { store.take_visit(id).await.unwrap() }
    }))
    .await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 100);
    let now = store.find(made.name(), Read::Latest).await.unwrap().unwrap();
    assert_eq!((now.visits, now.revision), (100, 1));
}

async fn a_limit_may_be_lifted(store: Arc<dyn LinkStore>) {
    let mut new = link("limited");
    new.settings.max_visits = Some(1);
    let made = create(&*store, &[new]).await.remove(0);
    assert!(store.take_visit(made.id).await.unwrap());
    assert!(!store.take_visit(made.id).await.unwrap());
    let limit = |max_visits| LinkEdit { max_visits: Some(max_visits), ..LinkEdit::default() };
    store.edit(made.name(), &limit(None)).await.unwrap();
    assert!(store.take_visit(made.id).await.unwrap());
    store.edit(made.name(), &limit(Some(3))).await.unwrap();
    assert!(store.take_visit(made.id).await.unwrap());
    assert!(!store.take_visit(made.id).await.unwrap());
    store.edit(made.name(), &limit(Some(0))).await.unwrap();
    assert!(!store.take_visit(made.id).await.unwrap());
}

async fn one_of_many_claims_a_request(store: Arc<dyn LinkStore>) {
    let claimed = all((0..50).map(|at| {
        let store = store.clone();
        async move {
            let claim = Claim {
                owner: "k1".to_owned(),
                key: "request".to_owned(),
                payload: [7; 32],
                nonce: [at; 16],
                refused: Vec::new(),
            };
            store.claim(&claim, 60).await.unwrap()
        }
    }))
    .await;
    assert_eq!(claimed.iter().filter(|claimed| **claimed == Claimed::Ours).count(), 1);
    assert_eq!(claimed.iter().filter(|claimed| **claimed == Claimed::InFlight).count(), 49);
}

async fn one_of_many_changes_of_a_revision_is_made(store: Arc<dyn LinkStore>) {
    let made = create(&*store, &[link("a")]).await.remove(0);
    let changed = all((0..30).map(|at| {
        let (store, made) = (store.clone(), made.clone());
        async move {
            let edit = LinkEdit {
                tags: Some(tags(&[&format!("t{at}")])),
                if_state: Some(made.state()),
                ..LinkEdit::default()
            };
            store.edit(made.name(), &edit).await.unwrap()
        }
    }))
    .await;
    let done: Vec<_> = changed.iter().filter(|changed| matches!(changed, Changed::Done(_))).collect();
    assert_eq!(done.len(), 1);
    let Changed::Done(winner) = done[0] else { unreachable!() };
    // Whoever lost sees what won, its new tag included.
    for changed in changed.iter().filter(|changed| !matches!(changed, Changed::Done(_))) {
        assert_eq!(*changed, Changed::Conflict(winner.clone()));
    }
}

async fn bulks_with_the_same_tags_do_not_lock_each_other_out(store: Arc<dyn LinkStore>) {
    let names: Vec<String> = (0..40).map(|at| format!("tag-{at}")).collect();
    let made = all((0..8).map(|bulk: usize| {
        let (store, names) = (store.clone(), names.clone());
        async move {
            let links = (0..200).map(|at| {
                // Each in another order, and all of them after the same aliases.
                let at = if bulk.is_multiple_of(2) { at } else { 199 - at };
                let mut link = tagged(&format!("c{at}"), &[&names[at % 40], &names[(at * 7) % 40]]);
                link.unless = at.is_multiple_of(3).then(Match::default);
                link
            });
            store.create(&links.collect::<Vec<_>>(), None).await.unwrap();
        }
    }))
    .await;
    assert_eq!(made.len(), 8);
    assert_eq!(store.count(None).await.unwrap(), 200);
}

async fn tags_are_counted_right_while_everything_changes(store: Arc<dyn LinkStore>) {
    all((0..12).map(|worker: usize| {
        let store = store.clone();
        async move {
            for at in 0..15 {
                let made =
                    create(&*store, &[tagged(&format!("w{worker}-{at}"), &["a", "b"])]).await.remove(0);
                let edit = LinkEdit { tags: Some(tags(&["b", "c"])), ..LinkEdit::default() };
                match at % 5 {
                    0 => drop(store.edit(made.name(), &edit).await.unwrap()),
                    1 => drop(store.delete(made.name(), None).await.unwrap()),
                    2 if worker == 0 => store.delete_tags(&["a".to_owned()]).await.unwrap(),
                    3 if worker == 1 => drop(store.rename_tag("c", "d").await.unwrap()),
                    _ => {}
                }
            }
        }
    }))
    .await;
    let mut query = crate::store::everything();
    query.limit = 1000;
    let mut counted = BTreeMap::<String, u64>::new();
    for link in store.list(&query).await.unwrap().links {
        for tag in link.settings.tags {
            *counted.entry(tag).or_default() += 1;
        }
    }
    let kept = store.tags(None, None).await.unwrap().into_iter().map(|tag| (tag.name, tag.links)).collect();
    assert_eq!(counted, kept);
    assert_eq!(store.count(None).await.unwrap(), 12 * 12);
}
