//! What the superuser prepares: the database, and per service a login role with a schema of its
//! own.

use std::path::Path;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, raw_sql};

use crate::shared::{self, SERVICES, SHARED, Shared};
use crate::{Config, Error, Password};

/// Time limits of a service's role: one statement, the wait for one lock, and a transaction in
/// which nothing happens.
const ROLE_LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "10s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "30s"),
];

/// Key of the advisory lock under which roles and databases are created: they belong to the whole
/// server.
const PROVISION_LOCK: i64 = 0x006d_616c_6861;

/// A PostgreSQL server, seen by its superuser.
#[derive(Clone, Debug)]
pub struct Administrator {
    options: PgConnectOptions,
}

impl Administrator {
    /// Takes the address of a superuser, such as
    /// `postgres:///postgres?host=/run/postgresql&user=postgres`.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self { options: PgConnectOptions::from_str(url)? })
    }

    /// The superuser of a server that trusts its private socket.
    pub(crate) fn at_socket(folder: &Path) -> Self {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(folder)
            .port(5432)
            .username("postgres")
            .database("postgres");
        Self { options }
    }

    /// Creates the database when it is missing, for each service its role, schema and functions,
    /// and the schemas that all share.
    ///
    /// Idempotent, and safe when several processes do it at once. Roles belong to the whole server:
    /// a password given here replaces the old one, `None` leaves it as it is.
    ///
    /// # Panics
    /// When a name is not a plain lower-case identifier.
    pub async fn provision(
        &self,
        database: &str,
        services: &[&str],
        password: Option<&Password>,
    ) -> Result<(), Error> {
        for name in services.iter().copied().chain([database]) {
            assert!(is_identifier(name), "{name:?} is not a lower-case identifier");
        }
        let mut server = self.options.connect().await?;
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(PROVISION_LOCK)
            .execute(&mut server)
            .await?;
        create_database(&mut server, database).await?;
        create_group(&mut server).await?;
        let shared = SHARED.iter().map(|shared| shared.role);
        for role in services.iter().copied().chain(shared) {
            create_role(&mut server, role, password).await?;
        }
        let mut connection = self.options.clone().database(database).connect().await?;
        let own = services.iter().copied().filter(|service| shared::of_role(service).is_none());
        for service in own {
            create_schema(&mut connection, service).await?;
        }
        for shared in &SHARED {
            create_shared_schema(&mut connection, shared).await?;
            shared.migrate(self.options.clone().database(database)).await?;
        }
        connection.close().await?;
        // This ends the lock too.
        Ok(server.close().await?)
    }

    /// Drops a database and cuts off whoever uses it. Nothing happens when it does not exist.
    ///
    /// # Panics
    /// When the name is not a plain lower-case identifier.
    pub async fn drop_database(&self, database: &str) -> Result<(), Error> {
        assert!(is_identifier(database), "{database:?} is not a lower-case identifier");
        let mut server = self.options.connect().await?;
        let statement = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        raw_sql(AssertSqlSafe(statement)).execute(&mut server).await?;
        Ok(server.close().await?)
    }

    /// The configuration with which services reach a database of this server.
    pub fn config(&self, database: &str) -> Config {
        let socket = self.options.get_socket().map(|folder| folder.display().to_string());
        Config {
            host: socket.unwrap_or_else(|| self.options.get_host().into()),
            port: self.options.get_port(),
            database: database.into(),
            ..Config::default()
        }
    }
}

/// Names go into statements as they are; these need no quotes.
fn is_identifier(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

async fn create_database(server: &mut PgConnection, database: &str) -> Result<(), Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(database)
            .fetch_one(&mut *server)
            .await?;
    if !exists {
        execute(server, format!("CREATE DATABASE {database}")).await?;
    }
    execute(server, format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")).await
}

async fn create_role(
    server: &mut PgConnection,
    role: &str,
    password: Option<&Password>,
) -> Result<(), Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(role)
            .fetch_one(&mut *server)
            .await?;
    let verb = if exists { "ALTER" } else { "CREATE" };
    execute(
        server,
        format!(
            "{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        ),
    )
    .await?;
    let shared = shared::of_role(role);
    let schema = shared.map_or(role, |shared| shared.schema);
    execute(server, format!("ALTER ROLE {role} SET search_path = {schema}")).await?;
    if shared.is_none() {
        execute(server, format!("GRANT {SERVICES} TO {role}")).await?;
    }
    let settings = shared.map_or(&[][..], |shared| shared.settings);
    for (setting, value) in ROLE_LIMITS.iter().chain(settings) {
        execute(server, format!("ALTER ROLE {role} SET {setting} = '{value}'")).await?;
    }
    if let Some(password) = password {
        let statement: String =
            sqlx::query_scalar("SELECT format('ALTER ROLE %I PASSWORD %L', $1, $2)")
                .bind(role)
                .bind(&password.0)
                .fetch_one(&mut *server)
                .await?;
        execute(server, statement).await?;
    }
    Ok(())
}

/// The role of which every service's role is a member. It cannot log in.
async fn create_group(server: &mut PgConnection) -> Result<(), Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(SERVICES)
            .fetch_one(&mut *server)
            .await?;
    if exists { Ok(()) } else { execute(server, format!("CREATE ROLE {SERVICES} NOLOGIN")).await }
}

async fn grant_connect(connection: &mut PgConnection, role: &str) -> Result<(), Error> {
    let database: String =
        sqlx::query_scalar("SELECT current_database()::text").fetch_one(&mut *connection).await?;
    execute(connection, format!("GRANT CONNECT ON DATABASE {database} TO {role}")).await
}

async fn create_schema(connection: &mut PgConnection, service: &str) -> Result<(), Error> {
    grant_connect(connection, service).await?;
    execute(
        connection,
        format!(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;
             CREATE SCHEMA IF NOT EXISTS {service} AUTHORIZATION {service};"
        ),
    )
    .await?;
    create_functions(connection, service).await
}

async fn create_shared_schema(connection: &mut PgConnection, shared: &Shared) -> Result<(), Error> {
    let Shared { role, schema, .. } = shared;
    grant_connect(connection, role).await?;
    execute(
        connection,
        format!(
            "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {role};
             GRANT USAGE ON SCHEMA {schema} TO {SERVICES};"
        ),
    )
    .await?;
    create_functions(connection, schema).await
}

/// The functions belong to the superuser, so that the service cannot replace them.
async fn create_functions(connection: &mut PgConnection, schema: &str) -> Result<(), Error> {
    execute(
        connection,
        format!(
            "CREATE OR REPLACE FUNCTION {schema}.current_tenant() RETURNS uuid
                 LANGUAGE sql STABLE PARALLEL SAFE
                 RETURN nullif(current_setting('malha.tenant', true), '')::uuid;
             CREATE OR REPLACE FUNCTION {schema}.is_worker() RETURNS boolean
                 LANGUAGE sql STABLE PARALLEL SAFE
                 RETURN coalesce(current_setting('malha.worker', true) = 'on', false);"
        ),
    )
    .await
}

async fn execute(connection: &mut PgConnection, statements: String) -> Result<(), Error> {
    raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_lower_case_names_become_identifiers() {
        for name in ["payments", "a", "test_0f3a"] {
            assert!(is_identifier(name), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in
            ["", "1a", "_a", "Payments", "pay-ments", "x; DROP TABLE y", "é", "\"q\"", &too_long]
        {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
