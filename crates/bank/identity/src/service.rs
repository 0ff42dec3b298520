//! gRPC: decodes, calls a use case, encodes.

use std::sync::Arc;

use auth::{Jwk, Role};
use contracts::identity::v1::identity_service_server::IdentityService;
use contracts::identity::v1::{
    GetJwksRequest, GetJwksResponse, IssueDevelopmentTokenRequest, IssueDevelopmentTokenResponse,
    JsonWebKey, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse, RefreshRequest,
    RefreshResponse, RegisterRequest, RegisterResponse, RotateSigningKeyRequest,
    RotateSigningKeyResponse, SetRolesRequest, SetRolesResponse,
};
use mesh::{Context, wire};
use tonic::{Request, Response, Status};

use crate::domain::{Email, Profile, TokenHash};
use crate::error::IdentityError;
use crate::identity::{Identity, Registration};

/// The gRPC face of [`Identity`].
pub(crate) struct Grpc(pub(crate) Arc<Identity>);

#[tonic::async_trait]
impl IdentityService for Grpc {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = mesh::valid(request)?;
        let registration = Registration {
            email: Email::new(&request.email),
            password: request.password.into(),
            profile: Profile {
                name: full_name("name", request.name)?,
                address: storable("address", request.address)?,
            },
        };
        let (name, email) = (registration.profile.name.clone(), registration.email.clone());
        let id = self.0.register(Context::current()?.tenant, registration).await?;
        let email = email.as_str().to_owned();
        Ok(Response::new(RegisterResponse { id: id.to_string(), name, email }))
    }

    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        let request = mesh::valid(request)?;
        let tenant = Context::current()?.tenant;
        let email = Email::new(&request.email);
        let pair = self.0.login(tenant, email, request.password.into()).await?;
        Ok(Response::new(LoginResponse { access_token: pair.access, refresh_token: pair.refresh }))
    }

    async fn refresh(
        &self,
        request: Request<RefreshRequest>,
    ) -> Result<Response<RefreshResponse>, Status> {
        let request = mesh::valid(request)?;
        let shown = TokenHash::of(&request.refresh_token);
        let pair = self.0.refresh(Context::current()?.tenant, &shown).await?;
        Ok(Response::new(RefreshResponse {
            access_token: pair.access,
            refresh_token: pair.refresh,
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let request = mesh::valid(request)?;
        let shown = TokenHash::of(&request.refresh_token);
        self.0.logout(Context::current()?.tenant, &shown).await?;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn get_jwks(
        &self,
        _: Request<GetJwksRequest>,
    ) -> Result<Response<GetJwksResponse>, Status> {
        let keys = self.0.keys.published().await.into_iter().map(json_web_key).collect();
        Ok(Response::new(GetJwksResponse { keys }))
    }

    async fn set_roles(
        &self,
        request: Request<SetRolesRequest>,
    ) -> Result<Response<SetRolesResponse>, Status> {
        let request = mesh::valid(request)?;
        let roles: Vec<Role> = request.roles().collect();
        let user = wire::id("user_id", &request.user_id)?;
        self.0.set_roles(Context::current()?.tenant, user, &roles).await?;
        Ok(Response::new(SetRolesResponse { user_id: user.to_string(), roles: request.roles }))
    }

    async fn rotate_signing_key(
        &self,
        _: Request<RotateSigningKeyRequest>,
    ) -> Result<Response<RotateSigningKeyResponse>, Status> {
        let kid = self.0.keys.rotate().await?;
        Ok(Response::new(RotateSigningKeyResponse { kid }))
    }

    async fn issue_development_token(
        &self,
        request: Request<IssueDevelopmentTokenRequest>,
    ) -> Result<Response<IssueDevelopmentTokenResponse>, Status> {
        let request = mesh::valid(request)?;
        let tenant = Context::current()?.tenant;
        let user = wire::id("subject", &request.subject)?;
        let roles = request.roles().collect();
        let time_to_live = request.time_to_live.and_then(|duration| duration.try_into().ok());
        let access_token = self.0.development_token(tenant, user, roles, time_to_live).await?;
        Ok(Response::new(IssueDevelopmentTokenResponse { access_token }))
    }
}

/// A name without blanks around it. Refused here if it is nothing but blanks: customers would
/// refuse it only when the user exists already.
fn full_name(field: &'static str, text: String) -> Result<String, IdentityError> {
    match storable(field, text)?.trim() {
        "" => Err(IdentityError::InvalidField { field, rule: "must not be blank" }),
        name => Ok(name.to_owned()),
    }
}

/// Free text that PostgreSQL can store.
fn storable(field: &'static str, text: String) -> Result<String, IdentityError> {
    if text.contains('\0') {
        return Err(IdentityError::InvalidField { field, rule: "must not contain U+0000" });
    }
    Ok(text)
}

fn json_web_key(key: Jwk) -> JsonWebKey {
    JsonWebKey { kty: key.kty, r#use: key.key_use, alg: key.alg, kid: key.kid, n: key.n, e: key.e }
}
