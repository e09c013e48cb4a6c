//! What every link store promises, asserted of each in the same words. New promises of the trait get their test here.

mod claims;
mod creation;
mod edits;
mod keys;
mod lists;
mod races;
mod tags;

/// Each of these functions as a test of each store.
macro_rules! of_each_store {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    let opened = crate::store::sqlite().await.unwrap();
                    super::$name(opened.store.clone()).await;
                    opened.store.close().await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    let Some(opened) = crate::store::postgres().await else { return };
                    super::$name(opened.store.clone()).await;
                    opened.store.close().await;
                }
            )*
        }
    };
}
use of_each_store;
