-- People who can log in.
CREATE TABLE users (
    tenant_id      uuid        NOT NULL DEFAULT current_tenant(),
    id             uuid        NOT NULL,
    -- Lower case.
    email          text        NOT NULL,
    -- PHC string of Argon2id, or a bcrypt hash until the next login.
    password_hash  text        NOT NULL,
    roles          text[]      NOT NULL CHECK (cardinality(roles) > 0),
    -- What customers has to be told; erased as soon as it was.
    name           text,
    address        text,
    -- When account and profile existed.
    provisioned_at timestamptz,
    created_at     timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_email_key UNIQUE (tenant_id, email),
    CHECK ((provisioned_at IS NULL) = (name IS NOT NULL))
);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON users
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());

-- One login, on one device: the family of all refresh tokens that came from it.
CREATE TABLE session (
    tenant_id  uuid        NOT NULL DEFAULT current_tenant(),
    id         uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL,
    -- When its newest refresh token expires.
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX session_user_idx ON session (tenant_id, user_id);
CREATE INDEX session_expires_idx ON session (expires_at);
ALTER TABLE session ENABLE ROW LEVEL SECURITY;
ALTER TABLE session FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON session
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY worker_reads ON session FOR SELECT USING (is_worker());
CREATE POLICY worker_deletes ON session FOR DELETE USING (is_worker());

-- Refresh tokens; those already used stay until they expire, to recognise a second use.
CREATE TABLE refresh_token (
    tenant_id  uuid        NOT NULL DEFAULT current_tenant(),
    -- SHA-256 of the token, which itself only the client has.
    hash       bytea       NOT NULL,
    session_id uuid        NOT NULL,
    expires_at timestamptz NOT NULL,
    rotated_at timestamptz,
    PRIMARY KEY (tenant_id, hash),
    FOREIGN KEY (tenant_id, session_id) REFERENCES session ON DELETE CASCADE
);
CREATE INDEX refresh_token_session_idx ON refresh_token (tenant_id, session_id);
CREATE INDEX refresh_token_expires_idx ON refresh_token (expires_at);
ALTER TABLE refresh_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE refresh_token FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON refresh_token
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY worker_reads ON refresh_token FOR SELECT USING (is_worker());
CREATE POLICY worker_deletes ON refresh_token FOR DELETE USING (is_worker());

-- Attempts that count against an e-mail, whether or not anybody has it.
CREATE TABLE attempt (
    tenant_id    uuid        NOT NULL DEFAULT current_tenant(),
    -- Keyed hash of what is attempted and the e-mail.
    subject      bytea       NOT NULL,
    count        integer     NOT NULL,
    last_at      timestamptz NOT NULL,
    locked_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subject)
);
CREATE INDEX attempt_last_idx ON attempt (last_at);
ALTER TABLE attempt ENABLE ROW LEVEL SECURITY;
ALTER TABLE attempt FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON attempt
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY worker_reads ON attempt FOR SELECT USING (is_worker());
CREATE POLICY worker_deletes ON attempt FOR DELETE USING (is_worker());

-- Keys that sign access tokens, of all tenants. One signs; the others only verify.
CREATE TABLE signing_key (
    kid        text        PRIMARY KEY,
    public_key jsonb       NOT NULL,
    -- PKCS#8 under the key-encryption key; erased when the key retires.
    sealed     bytea,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CHECK ((retired_at IS NULL) = (sealed IS NOT NULL))
);
CREATE UNIQUE INDEX signing_key_active_key ON signing_key ((true)) WHERE retired_at IS NULL;
