//! The PostgreSQL store when its server goes away, has replicas, or another schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shortener::config::SecretText;
use shortener::link::{LinkEdit, LinkRef, ListQuery};
use shortener::store::postgres::PostgresStore;
use shortener::store::{LinkStore, Read, StoreError};
use sqlx::{Connection as _, PgConnection};
use testbed::Postgres;

use super::{create, link, postgres_at, tagged};

/// How long is waited for what is to come; never a statement about speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// The store's connections, as its server counts them.
async fn connections(url: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hoplog'
               AND datname = current_database()";
    count(url, sql).await
}

/// Those of them that its server works for, or that wait for a lock.
async fn active(url: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hoplog'
               AND datname = current_database() AND state = 'active'";
    count(url, sql).await
}

async fn count(url: &str, counted: &'static str) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let count = sqlx::query_scalar(counted).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    count
}

/// Calls of all kinds by many at once, until it is stopped; how they ended.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    worked: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    fn start(self: &Arc<Self>, store: &Arc<PostgresStore>) -> Vec<tokio::task::JoinHandle<()>> {
        let worker = |worker: u64| {
            let (load, store) = (Arc::clone(self), Arc::clone(store));
            tokio::spawn(async move {
                for at in 0.. {
                    if load.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    load.call(&store, worker, at).await;
                }
            })
        };
        (0..24).map(worker).collect()
    }

    async fn call(&self, store: &PostgresStore, worker: u64, at: u64) {
        let called = match at % 3 {
            0 => store.create(&[tagged(&format!("{worker}-{at}"), &["load"])], None).await.map(drop),
            1 => store.find(LinkRef::on_default("known"), Read::Recent).await.map(drop),
            _ => store.list(&super::everything()).await.map(drop),
        };
        match called {
            Ok(()) => self.worked.fetch_add(1, Ordering::SeqCst),
            Err(StoreError::Unavailable(_) | StoreError::Busy | StoreError::Timeout { .. }) => {
                self.refused.fetch_add(1, Ordering::SeqCst)
            }
            Err(other) => panic!("{other:?}"),
        };
    }

    async fn works_again(&self) {
        let before = self.worked.load(Ordering::SeqCst);
        until("calls work", async || self.worked.load(Ordering::SeqCst) > before + 100).await;
    }

    async fn is_refused(&self) {
        let before = self.refused.load(Ordering::SeqCst);
        until("calls fail", async || self.refused.load(Ordering::SeqCst) > before + 50).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_only_a_server_that_the_authority_knows_is_spoken_to() {
    let Some(server) = Postgres::start_with_tls() else { return };
    let url = server.database();
    let known = format!("{url}?sslmode=verify-full&sslrootcert={}", server.authority().display());
    let store = PostgresStore::open(&postgres_at(&known)).unwrap();
    store.migrate().await.unwrap();
    create(&store, &[link("known")]).await;
    assert!(store.find(LinkRef::on_default("known"), Read::Recent).await.unwrap().is_some());
    // Whom the system trusts has not signed it; and who speaks plainly is refused.
    for mode in ["verify-full", "disable"] {
        let store = PostgresStore::open(&postgres_at(&format!("{url}?sslmode={mode}"))).unwrap();
        assert!(store.ping().await.is_err(), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_was_away_is_used_again_within_the_bound_of_connections() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    let mut config = postgres_at(&url);
    (config.read_ms_max, config.write_ms_max) = (400, 800);
    (config.postgres.connections_max, config.postgres.connect_ms_max) = (6, 200);
    config.postgres.statement_ms_max = 1_000;
    let store = Arc::new(PostgresStore::open(&config).unwrap());
    store.migrate().await.unwrap();
    create(&*store, &[link("known")]).await;
    let load = Arc::new(Load::default());
    let workers = load.start(&store);
    load.works_again().await;
    assert!((1..=6).contains(&connections(&url).await));
    until("its pool is seen to be in use", async || {
        let pools = store.pools();
        let all: Vec<_> = pools.iter().map(|pool| (pool.name, pool.connections_max)).collect();
        assert_eq!(all, [("primary", 6), ("api", 3)]);
        assert!(pools.iter().all(|pool| pool.busy + pool.idle <= pool.connections_max), "{pools:?}");
        pools[0].busy == 6
    })
    .await;

    tokio::task::block_in_place(|| server.kill());
    load.is_refused().await;
    tokio::task::block_in_place(|| server.restart());
    load.works_again().await;
    assert!(connections(&url).await <= 6);

    tokio::task::block_in_place(|| server.pause());
    load.is_refused().await;
    tokio::task::block_in_place(|| server.resume());
    load.works_again().await;
    // Those that were closed while nobody answered are noticed one by one.
    until("old connections end", async || connections(&url).await <= 6).await;
    load.stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.await.unwrap();
    }
    until("its pool is seen to be free", async || store.pools()[0].busy == 0).await;
    // What was answered is there, and counted.
    let page = store.list(&super::everything()).await.unwrap();
    assert_eq!(page.total, Some(store.count(None).await.unwrap()));
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let links: i64 =
        sqlx::query_scalar("SELECT count(*) FROM links").fetch_one(&mut connection).await.unwrap();
    assert_eq!(page.total, u64::try_from(links).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn visits_find_a_connection_whatever_the_api_waits_for() {
    let Some(server) = testbed::shared_postgres() else { return };
    let url = server.database();
    let mut config = postgres_at(&url);
    // Callers go long before the server ends a statement that waits, after half of this.
    (config.write_ms_max, config.postgres.statement_ms_max) = (300, 20_000);
    (config.postgres.connections_max, config.postgres.connect_ms_max) = (4, 100);
    let store = Arc::new(PostgresStore::open(&config).unwrap());
    store.migrate().await.unwrap();
    create(&*store, &[link("locked")]).await;
    let visited = link("visited");
    create(&*store, &[visited]).await;
    let id = store.find(LinkRef::on_default("visited"), Read::Latest).await.unwrap().unwrap().id;
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM links WHERE code = 'locked' FOR UPDATE").execute(&mut *lock).await.unwrap();

    for _ in 0..3 {
        let edits = (0..12).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let edit = LinkEdit { title: Some(Some("new".to_owned())), ..LinkEdit::default() };
                store.edit(LinkRef::on_default("locked"), &edit).await
            })
        });
        let edits: Vec<_> = edits.collect();
        until("the API has its share", async || store.pools()[1].idle == 0).await;
        for _ in 0..20 {
            let found = store.find(LinkRef::on_default("visited"), Read::Recent).await.unwrap();
            assert!(found.is_some());
            assert!(store.take_visit(id).await.unwrap());
        }
        for edit in edits {
            let error = edit.await.unwrap().unwrap_err();
            assert!(matches!(error, StoreError::Timeout { .. } | StoreError::Busy), "{error:?}");
        }
        // Those that were given up wait at the server, each on a connection that is counted.
        assert!(connections(&url).await <= 4);
        let busy = store.list(&super::everything()).await.unwrap_err();
        assert!(matches!(busy, StoreError::Busy) && !busy.is_outage(), "{busy:?}");
        // An edit that is just made known is looked up by visits, too, and whether the store answers is asked beside it.
        assert!(store.find(LinkRef::on_default("visited"), Read::Latest).await.unwrap().is_some());
        store.ping().await.unwrap();
    }
    lock.rollback().await.unwrap();
    until("the API has connections again", async || store.list(&super::everything()).await.is_ok()).await;
    until("all are back", async || store.pools().iter().all(|pool| pool.busy == 0)).await;
    assert!(connections(&url).await <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_asked_first_and_not_relied_on() {
    let (Some(primary), Some(replica)) = (testbed::shared_postgres(), Postgres::start()) else { return };
    // No replication: what only one of them knows shows who was asked.
    let mut config = postgres_at(&primary.database());
    let replica_url = replica.database();
    let aside = PostgresStore::open(&postgres_at(&replica_url)).unwrap();
    aside.migrate().await.unwrap();
    create(&aside, &[link("replica")]).await;
    config.postgres.replica_urls = vec![SecretText::new(replica_url)];
    let store = PostgresStore::open(&config).unwrap();
    let pools: Vec<_> = store.pools().into_iter().map(|pool| (pool.name, pool.connections_max)).collect();
    assert_eq!(pools, [("primary", 16), ("api", 8), ("replicas", 16)]);
    store.migrate().await.unwrap();
    create(&store, &[link("primary")]).await;
    let knows = async |code: &str, read| store.find(LinkRef::on_default(code), read).await.unwrap().is_some();
    // It can't say how far it is behind.
    until("the replica is asked", async || knows("replica", Read::Recent).await).await;
    assert!(!knows("replica", Read::Latest).await);
    assert!(knows("primary", Read::Recent).await && knows("primary", Read::Latest).await);
    assert!(!knows("none", Read::Recent).await);
    tokio::task::block_in_place(|| replica.kill());
    assert!(knows("primary", Read::Recent).await && !knows("replica", Read::Recent).await);
    tokio::task::block_in_place(|| replica.restart());
    until("the replica is asked again", async || knows("replica", Read::Recent).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_too_far_behind_is_not_asked_until_it_has_caught_up() {
    let Some(primary) = Postgres::start() else { return };
    let url = primary.database();
    let replica = primary.start_replica();
    let replica_url = url.replace(&primary.address(), &replica.address());
    let mut config = postgres_at(&url);
    config.postgres.replica_urls = vec![SecretText::new(&*replica_url)];
    config.postgres.replica_lag_ms_max = 2_000;
    let store = PostgresStore::open(&config).unwrap();
    store.migrate().await.unwrap();
    let made = create(&store, &[link("edited"), link("deleted")]).await;
    let recent = async |code: &str| store.find(LinkRef::on_default(code), Read::Recent).await.unwrap();
    let lag_s = || store.replica_lag_s().unwrap();

    until("the replica has all of it", async || lag_s() < 0.5).await;
    tokio::task::block_in_place(|| replica.query(&replica_url, "SELECT pg_wal_replay_pause()"));
    let edit = LinkEdit { title: Some(Some("new".to_owned())), ..LinkEdit::default() };
    store.edit(made[0].name(), &edit).await.unwrap();
    store.delete(made[1].name(), None).await.unwrap();
    until("the replica is too far behind", async || lag_s() > 2.0).await;
    for _ in 0..20 {
        assert_eq!(recent("edited").await.unwrap().revision, 2);
        assert_eq!(recent("deleted").await, None);
    }

    tokio::task::block_in_place(|| replica.query(&replica_url, "SELECT pg_wal_replay_resume()"));
    until("it has caught up", async || lag_s() < 0.5).await;
    // The primary hangs, which may be for us alone: others may go on to write.
    tokio::task::block_in_place(|| primary.pause());
    until("what it lacks is not known", async || lag_s() > 2.0).await;
    tokio::task::block_in_place(|| primary.resume());
    until("the primary answers", async || lag_s() < 0.5).await;
    // It is asked: nobody else is there. And it goes on to be, as nothing comes that it could lack.
    tokio::task::block_in_place(|| primary.kill());
    let since = Instant::now();
    until("the bound is over", async || {
        assert_eq!(recent("edited").await.unwrap().revision, 2);
        since.elapsed() > Duration::from_millis(4_500)
    })
    .await;
    assert!(store.find(LinkRef::on_default("deleted"), Read::Recent).await.is_err(), "nobody can say");

    // Cut off, it gets older by what is written elsewhere.
    tokio::task::block_in_place(|| {
        primary.restart();
        replica.kill();
    });
    until("nobody knows what it lacks", async || lag_s() > 2.0).await;
    assert_eq!(recent("edited").await.unwrap().revision, 2);

    // Promoted, it is no replica any more.
    tokio::task::block_in_place(|| replica.restart());
    until("it is back", async || lag_s() < 0.5).await;
    tokio::task::block_in_place(|| replica.query(&replica_url, "SELECT pg_promote()"));
    until("it is not asked", async || lag_s().is_infinite()).await;
    assert_eq!(recent("edited").await.unwrap().revision, 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_of_another_primary_is_not_asked() {
    let (Some(primary), Some(other)) = (testbed::shared_postgres(), Postgres::start()) else { return };
    let other_url = other.database();
    let aside = PostgresStore::open(&postgres_at(&other_url)).unwrap();
    aside.migrate().await.unwrap();
    create(&aside, &[link("other")]).await;
    let replica = other.start_replica();
    let mut config = postgres_at(&primary.database());
    let replica_url = other_url.replace(&other.address(), &replica.address());
    config.postgres.replica_urls = vec![SecretText::new(replica_url)];
    config.postgres.replica_lag_ms_max = 2_000;
    let store = PostgresStore::open(&config).unwrap();
    store.migrate().await.unwrap();
    let since = Instant::now();
    until("it was looked at", async || {
        assert_eq!(store.find(LinkRef::on_default("other"), Read::Recent).await.unwrap(), None);
        assert_eq!(store.replica_lag_s(), Some(f64::INFINITY));
        since.elapsed() > Duration::from_secs(2)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_asked_while_the_primarys_connections_are_all_in_use() {
    let Some(primary) = Postgres::start() else { return };
    let url = primary.database();
    let replica = primary.start_replica();
    let mut config = postgres_at(&url);
    let replica_url = url.replace(&primary.address(), &replica.address());
    config.postgres.replica_urls = vec![SecretText::new(replica_url)];
    config.postgres.replica_lag_ms_max = 2_000;
    config.postgres.connections_max = 1;
    let store = Arc::new(PostgresStore::open(&config).unwrap());
    store.migrate().await.unwrap();
    create(&*store, &[link("known")]).await;
    let lag_s = || store.replica_lag_s().unwrap();
    until("the replica has all of it", async || lag_s() < 0.5).await;

    // The only connection waits for a lock.
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE links IN ACCESS EXCLUSIVE MODE").execute(&mut *lock).await.unwrap();
    let blocked = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.find(LinkRef::on_default("unknown"), Read::Latest).await.is_err() }
    });
    until("it is in use", async || store.pools()[0].busy == 1).await;
    let since = Instant::now();
    until("the bound is over", async || {
        assert!(lag_s() < 2.0, "{}", lag_s());
        since.elapsed() > Duration::from_millis(2_200)
    })
    .await;
    lock.rollback().await.unwrap();
    blocked.await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn an_older_schema_is_refused_and_a_later_one_used() {
    let Some(server) = testbed::shared_postgres() else { return };
    let url = server.database();
    let store = Arc::new(PostgresStore::open(&postgres_at(&url)).unwrap());
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("hoplog migrate"), "{error}");
    // Several at once, as when several instances are rolled out.
    let migrations = (0..4).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.migrate().await })
    });
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.unwrap().unwrap();
    }
    store.ping().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'of a later version', true, '', 0)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    store.ping().await.unwrap();
    store.migrate().await.unwrap();
    create(&*store, &[link("a")]).await;
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version > 1").execute(&mut connection).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { found: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn a_locked_link_delays_its_changes_up_to_their_deadline_and_no_reads() {
    let Some(server) = testbed::shared_postgres() else { return };
    let url = server.database();
    let mut config = postgres_at(&url);
    config.postgres.statement_ms_max = 500;
    let patient = PostgresStore::open(&config).unwrap();
    patient.migrate().await.unwrap();
    config.write_ms_max = 100;
    let hasty = PostgresStore::open(&config).unwrap();
    let made = create(&patient, &[link("a")]).await.remove(0);
    let mut other = PgConnection::connect(&url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("SELECT FROM links FOR UPDATE").execute(&mut *lock).await.unwrap();
    let edit = LinkEdit { title: Some(Some("new".to_owned())), ..LinkEdit::default() };
    // The server ends it, where its deadline does not.
    assert!(matches!(patient.edit(made.name(), &edit).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(hasty.edit(made.name(), &edit).await, Err(StoreError::Timeout { ms: 100 })));
    for store in [&patient, &hasty] {
        assert_eq!(store.find(made.name(), Read::Latest).await.unwrap(), Some(made.clone()));
    }
    lock.rollback().await.unwrap();
    until("it can be changed", async || hasty.edit(made.name(), &edit).await.is_ok()).await;
    let now = patient.find(made.name(), Read::Latest).await.unwrap().unwrap();
    assert_eq!(now.settings.title.as_deref(), Some("new"));
}

#[tokio::test]
async fn without_settings_of_the_session_it_works_the_same() {
    let Some(server) = testbed::shared_postgres() else { return };
    let mut config = postgres_at(&server.database());
    config.postgres.session_timeouts = false;
    let store = PostgresStore::open(&config).unwrap();
    store.migrate().await.unwrap();
    let made = create(&store, &[tagged("a", &["x"])]).await.remove(0);
    assert_eq!(store.list(&super::everything()).await.unwrap().links, [made]);
    // A text that PostgreSQL can't hold is no outage.
    let error = store.find(LinkRef::on_default("nul\0"), Read::Latest).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn indexing_that_was_given_up_keeps_its_connection_until_the_server_has_ended_it() {
    let Some(server) = testbed::shared_postgres() else { return };
    let url = server.database();
    let mut config = postgres_at(&url);
    // Indexing waits for a lock for ten times as long.
    config.postgres.statement_ms_max = 100;
    let store = Arc::new(PostgresStore::open(&config).unwrap());
    store.migrate().await.unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let mut lock = holder.begin().await.unwrap();
    sqlx::query("DROP INDEX links_by_text").execute(&mut *lock).await.unwrap();
    let indexing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.index_texts().await }
    });
    until("it waits for the index", async || active(&url).await == 1).await;
    indexing.abort();
    until("its place is free", async || store.pools()[0].busy == 0).await;
    assert_eq!(active(&url).await, 0, "the server is at it no longer");
    lock.rollback().await.unwrap();
    store.index_texts().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_found_at_once_and_indexed_later() {
    let Some(server) = testbed::shared_postgres() else { return };
    let url = server.database();
    let store = PostgresStore::open(&postgres_at(&url)).unwrap();
    store.migrate().await.unwrap();
    let mut by_hand = PgConnection::connect(&url).await.unwrap();
    let mut pages_waiting = async || -> i64 {
        let clean = "SELECT gin_clean_pending_list('links_by_text')";
        sqlx::query_scalar(clean).fetch_one(&mut by_hand).await.unwrap()
    };
    let found = async |term: &str| {
        let query = ListQuery { search: Some(term.to_owned()), ..super::everything() };
        store.list(&query).await.unwrap().links.len()
    };
    create(&store, &[link("needle-1")]).await;
    assert_eq!(found("eedle").await, 1);
    // No creation has done it.
    assert_eq!(pages_waiting().await, 1);

    create(&store, &[link("needle-2"), link("hay")]).await;
    let (first, second) = tokio::join!(store.index_texts(), store.index_texts());
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    assert_eq!(pages_waiting().await, 0);
    assert_eq!(found("eedle").await, 2);

    // Of somebody else's index, and of none, nothing is wanted.
    let role = format!("reader_{}", std::process::id());
    let mut owner = PgConnection::connect(&url).await.unwrap();
    for statement in [format!("CREATE ROLE {role} LOGIN"), format!("GRANT ALL ON links TO {role}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut owner).await.unwrap();
    }
    create(&store, &[link("needle-3")]).await;
    let (_, address) = url.split_once('@').unwrap();
    let other = PostgresStore::open(&postgres_at(&format!("postgres://{role}@{address}"))).unwrap();
    assert_eq!(other.index_texts().await.unwrap(), 0);
    assert_eq!(pages_waiting().await, 1);
    sqlx::query("DROP INDEX links_by_text").execute(&mut owner).await.unwrap();
    assert_eq!(store.index_texts().await.unwrap(), 0);
    assert_eq!(found("eedle").await, 3);
}
