//! `malha token`

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use contracts::identity::v1::IssueDevelopmentTokenRequest;
use contracts::policy;
use uuid::Uuid;

use crate::commands::keys;
use crate::settings::Settings;

/// Print an access token for development.
///
/// The running mesh signs it, if its setting `identity.development_tokens` is on, as in `malha dev`.
#[derive(Args, Debug)]
pub(crate) struct Token {
    /// User for whom the token stands; a new one when absent.
    #[arg(long, value_name = "UUID")]
    subject: Option<Uuid>,
    /// Role in the token; may be repeated.
    #[arg(long, value_enum, ignore_case = true, default_value = "customer")]
    role: Vec<Role>,
    /// Time to live, such as `1h`; that of any access token when absent.
    #[arg(long, value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    Customer,
    Viewer,
    Analyst,
    Operator,
    Admin,
}

impl From<Role> for policy::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Customer => Self::Customer,
            Role::Viewer => Self::Viewer,
            Role::Analyst => Self::Analyst,
            Role::Operator => Self::Operator,
            Role::Admin => Self::Admin,
        }
    }
}

impl Token {
    pub(crate) async fn run(self, settings: &Settings) -> Result<()> {
        let request = IssueDevelopmentTokenRequest {
            subject: self.subject.unwrap_or_else(Uuid::new_v4).to_string(),
            roles: self.role.into_iter().map(|role| policy::Role::from(role).into()).collect(),
            time_to_live: self.ttl.map(TryInto::try_into).transpose()?,
        };
        let response = keys::ask_identity(settings, async |mut identity| {
            identity.issue_development_token(request).await
        })
        .await?;
        println!("{}", response.access_token);
        Ok(())
    }
}
