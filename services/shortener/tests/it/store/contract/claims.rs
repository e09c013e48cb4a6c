//! A request that is sent again has its effect once.

use std::sync::Arc;

use shortener::store::{Claim, Claimed, Creation, LinkStore, Settled};

use crate::store::link;

super::of_each_store!(
    a_claim_is_done_with_its_effect,
    a_claim_that_was_lost_has_no_effect,
    a_claim_that_failed_is_given_up,
    old_claims_are_forgotten,
);

fn claim(key: &str, payload: u8, nonce: u8) -> Claim {
    Claim {
        owner: "k1".to_owned(),
        key: key.to_owned(),
        payload: [payload; 32],
        nonce: [nonce; 16],
        refused: Vec::new(),
    }
}

async fn a_claim_is_done_with_its_effect(store: Arc<dyn LinkStore>) {
    let (mut ours, again) = (claim("a", 1, 1), claim("a", 1, 2));
    ours.refused = vec![0, 2, 4];
    assert_eq!(store.claim(&ours, 60).await.unwrap(), Claimed::Ours);
    assert_eq!(store.claim(&again, 60).await.unwrap(), Claimed::InFlight);
    assert_eq!(store.claim(&claim("a", 2, 2), 60).await.unwrap(), Claimed::Mismatch);
    let mut elsewhere = again.clone();
    elsewhere.owner = "k2".to_owned();
    assert_eq!(store.claim(&elsewhere, 60).await.unwrap(), Claimed::Ours);
    let links = [link("x"), link("x")];
    let Creation::Done(made) = store.create(&links, Some(&ours)).await.unwrap() else { panic!() };
    let shortener::store::Created::New(made) = &made[0] else { panic!() };
    let (none, new) = (Settled::Refused, Settled::New(made.id));
    for claim in [&again, &ours] {
        assert_eq!(
            store.claim(claim, 60).await.unwrap(),
            Claimed::Done(vec![none, new, none, Settled::Taken, none]),
            "each in its place"
        );
    }
    assert_eq!(store.claim(&claim("a", 2, 2), 60).await.unwrap(), Claimed::Mismatch);
    // What is done stays done.
    store.unclaim(&ours).await.unwrap();
    assert!(matches!(store.claim(&again, 0).await.unwrap(), Claimed::Done(_)));
    assert_eq!(store.create(&[link("y")], Some(&ours)).await.unwrap(), Creation::ClaimLost);
    assert_eq!(store.count(None).await.unwrap(), 1);
}

async fn a_claim_that_was_lost_has_no_effect(store: Arc<dyn LinkStore>) {
    let (slow, next) = (claim("a", 1, 1), claim("a", 1, 2));
    // A lease of no time has run out at once.
    assert_eq!(store.claim(&slow, 0).await.unwrap(), Claimed::Ours);
    assert_eq!(store.claim(&next, 60).await.unwrap(), Claimed::Ours);
    assert_eq!(store.create(&[link("x")], Some(&slow)).await.unwrap(), Creation::ClaimLost);
    assert_eq!(store.count(None).await.unwrap(), 0);
    store.unclaim(&slow).await.unwrap();
    assert!(matches!(store.create(&[link("x")], Some(&next)).await.unwrap(), Creation::Done(_)));
    let never = claim("never", 1, 1);
    assert_eq!(store.create(&[link("y")], Some(&never)).await.unwrap(), Creation::ClaimLost);
}

async fn a_claim_that_failed_is_given_up(store: Arc<dyn LinkStore>) {
    let ours = claim("a", 1, 1);
    assert_eq!(store.claim(&ours, 60).await.unwrap(), Claimed::Ours);
    store.unclaim(&ours).await.unwrap();
    assert_eq!(store.claim(&claim("a", 2, 2), 60).await.unwrap(), Claimed::Ours);
}

async fn old_claims_are_forgotten(store: Arc<dyn LinkStore>) {
    for nonce in 0..5 {
        let claim = claim(&format!("c{nonce}"), 1, nonce);
        assert_eq!(store.claim(&claim, 60).await.unwrap(), Claimed::Ours);
    }
    assert_eq!(store.forget_claims(1_000, 10).await.unwrap(), 0);
    let ever = 1 << 40;
    assert_eq!(store.forget_claims(ever, 3).await.unwrap(), 3);
    assert_eq!(store.forget_claims(ever, 3).await.unwrap(), 2);
    assert_eq!(store.claim(&claim("c0", 9, 9), 60).await.unwrap(), Claimed::Ours);
}
