//! What a shortener does by itself, every now and then.

use crate::server::Server;

#[tokio::test]
async fn texts_are_indexed_again_and_again_also_when_a_turn_failed() {
    let server = Server::start().await;
    server.store.texts_indexed().await;
    server.store.set_down(true);
    server.store.texts_indexed().await;
    server.store.set_down(false);
    server.store.texts_indexed().await;
}
