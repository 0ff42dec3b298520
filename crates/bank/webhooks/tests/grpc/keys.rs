//! The key-encryption key is changed while webhooks go on.

use std::fs;
use std::time::{Duration, Instant};

use testkit::{Role, TenantId};

use crate::inbound::{admit, receive, signed};
use crate::receiver::{PATIENCE, Receiver};
use crate::world::{START, World};

/// All secrets as the database has them.
async fn sealed(world: &World) -> Vec<Vec<u8>> {
    let mut txn = world.open().begin(TenantId::DEFAULT).await.unwrap();
    let all = "SELECT sealed FROM endpoint_secret UNION ALL SELECT sealed_secrets FROM provider";
    sqlx::query_scalar(all).fetch_all(&mut *txn).await.unwrap()
}

/// A new key in front of the old one takes over what that has sealed; then the old one can go.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_takes_over_from_an_old_one() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let id = world.register(&receiver.url(), &[]).await.endpoint.unwrap().id;
    admit(&world, world.staff(Role::Admin)).await;
    let before = sealed(&world).await;
    let path = &world.config.key_encryption_key;
    let old = fs::read_to_string(path).unwrap();
    let new = "bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=\n";

    world.kit.stop("webhooks").await;
    fs::write(path, format!("{new}{old}")).unwrap();
    world.serve().await;
    assert!(world.try_once(&id).await.status == 204);
    let end = Instant::now() + PATIENCE;
    while sealed(&world).await.iter().any(|secret| before.contains(secret)) {
        assert!(Instant::now() < end, "a secret is still under the old key");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    world.kit.stop("webhooks").await;
    fs::write(path, new).unwrap();
    world.serve().await;
    assert!(world.try_once(&id).await.status == 204);
    assert!(!receive(&world, signed("evt_1", START, b"{}")).await.unwrap().duplicate);
}
