//! The keys that verify users' tokens, as identity publishes them.

use async_trait::async_trait;
use auth::{Jwk, KeyError, KeySource};
use contracts::identity::v1::GetJwksRequest;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;

use crate::client::channel::Channel;

/// Reads keys from identity over the mesh. The verifier keeps them.
#[derive(Clone, Debug)]
pub struct MeshKeys(pub(crate) Channel);

#[async_trait]
impl KeySource for MeshKeys {
    async fn fetch(&self) -> Result<Vec<Jwk>, KeyError> {
        let answer = IdentityServiceClient::new(self.0.clone()).get_jwks(GetJwksRequest {}).await;
        let keys =
            answer.map_err(|status| KeyError(status.message().to_owned()))?.into_inner().keys;
        let keys = keys.into_iter().map(|key| Jwk {
            kty: key.kty,
            key_use: key.r#use,
            alg: key.alg,
            kid: key.kid,
            n: key.n,
            e: key.e,
        });
        Ok(keys.collect())
    }
}
