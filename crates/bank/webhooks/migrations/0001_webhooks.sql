-- Endpoints that events are told to (B-20). Ids are primary keys by themselves where background work
-- looks across tenants: with two policies, the tenant is no condition that an index serves.
CREATE TABLE endpoint (
    id              uuid PRIMARY KEY,
    tenant_id       uuid        NOT NULL DEFAULT current_tenant(),
    url             text        NOT NULL,
    description     text        NOT NULL,
    -- None means all; `transaction.*` is all that begin with `transaction.`.
    event_types     text[]      NOT NULL,
    -- 0: as many as there are.
    rate_per_second integer     NOT NULL CHECK (rate_per_second >= 0),
    state           text        NOT NULL CHECK (state IN ('ENABLED', 'DISABLED', 'DELETED')),
    disabled_reason text        CHECK (disabled_reason IN ('REQUESTED', 'GONE', 'FAILING')),
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    -- Attempts without success since the last one with.
    failures        integer     NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    -- It asked to wait, or does not answer well.
    paused_until    timestamptz,
    -- Up to when its rate is used up.
    paced_until     timestamptz,

    CHECK ((state = 'DISABLED') = (disabled_reason IS NOT NULL)),
    CHECK ((failures = 0) = (failing_since IS NULL))
);
CREATE INDEX endpoint_tenant ON endpoint (tenant_id, id DESC);

-- Secrets are encrypted; the key is not in the database.
CREATE TABLE endpoint_secret (
    tenant_id   uuid        NOT NULL DEFAULT current_tenant(),
    id          uuid        NOT NULL,
    endpoint_id uuid        NOT NULL REFERENCES endpoint,
    scheme      text        NOT NULL CHECK (scheme IN ('HMAC', 'ED25519')),
    sealed      bytea       NOT NULL,
    public_key  text,
    created_at  timestamptz NOT NULL,
    -- The newest one has none.
    expires_at  timestamptz,

    PRIMARY KEY (tenant_id, id),
    CHECK ((scheme = 'ED25519') = (public_key IS NOT NULL))
);
CREATE INDEX endpoint_secret_endpoint ON endpoint_secret (tenant_id, endpoint_id, id DESC);

-- What is sent, byte for byte as it is signed.
CREATE TABLE message (
    tenant_id  uuid        NOT NULL DEFAULT current_tenant(),
    id         uuid        NOT NULL,
    event_type text        NOT NULL,
    payload    bytea       NOT NULL,
    created_at timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, id)
);
CREATE INDEX message_created_at ON message (tenant_id, created_at);

-- A message on its way to an endpoint.
CREATE TABLE delivery (
    id              uuid PRIMARY KEY,
    tenant_id       uuid        NOT NULL DEFAULT current_tenant(),
    message_id      uuid        NOT NULL,
    endpoint_id     uuid        NOT NULL REFERENCES endpoint,
    event_type      text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'FAILED')),
    -- Attempts that were begun; the number of the one under way.
    attempts        integer     NOT NULL DEFAULT 0,
    -- Attempts of the schedule that failed; a replay begins it anew.
    step            integer     NOT NULL DEFAULT 0,
    -- When it is due; while an attempt is under way, when that is given up for lost.
    next_attempt_at timestamptz,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,

    UNIQUE (message_id, endpoint_id),
    FOREIGN KEY (tenant_id, message_id) REFERENCES message ON DELETE CASCADE,
    CHECK ((state = 'PENDING') = (next_attempt_at IS NOT NULL)),
    CHECK ((state = 'PENDING') = (finished_at IS NULL))
);
CREATE INDEX delivery_due ON delivery (endpoint_id, next_attempt_at) WHERE state = 'PENDING';
CREATE INDEX delivery_tenant ON delivery (tenant_id, id DESC);
CREATE INDEX delivery_endpoint ON delivery (endpoint_id, id DESC);
CREATE INDEX delivery_failed ON delivery (tenant_id, id DESC) WHERE state = 'FAILED';

CREATE TABLE attempt (
    tenant_id   uuid        NOT NULL DEFAULT current_tenant(),
    delivery_id uuid        NOT NULL REFERENCES delivery ON DELETE CASCADE,
    number      integer     NOT NULL,
    started_at  timestamptz NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN
        ('DELIVERED', 'REFUSED', 'TIMEOUT', 'UNREACHABLE', 'ADDRESS_REFUSED')),
    status      integer,
    latency_ms  integer     NOT NULL,
    response    text        NOT NULL,

    PRIMARY KEY (tenant_id, delivery_id, number)
);

-- Whose webhooks are received (K-14).
CREATE TABLE provider (
    tenant_id      uuid        NOT NULL DEFAULT current_tenant(),
    name           text        NOT NULL,
    scheme         text        NOT NULL CHECK (scheme IN ('STANDARD', 'HMAC', 'TIMESTAMPED')),
    header         text        NOT NULL,
    prefix         text        NOT NULL,
    encoding       text        NOT NULL CHECK (encoding IN ('HEX', 'BASE64')),
    id_pointer     text        NOT NULL,
    -- A list, encrypted as a whole.
    sealed_secrets bytea       NOT NULL,
    updated_at     timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, name)
);

-- What was received, at most once for each id that its provider gave it (K-21).
CREATE TABLE inbound_message (
    tenant_id    uuid        NOT NULL DEFAULT current_tenant(),
    id           uuid        NOT NULL,
    provider     text        NOT NULL,
    provider_id  text        NOT NULL,
    content_type text        NOT NULL,
    body         bytea       NOT NULL,
    received_at  timestamptz NOT NULL,

    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, provider, provider_id)
);
CREATE INDEX inbound_message_received_at ON inbound_message (tenant_id, received_at);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['endpoint', 'endpoint_secret', 'message', 'delivery', 'attempt',
                                'provider', 'inbound_message'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (tenant_id = current_tenant())
                        WITH CHECK (tenant_id = current_tenant())', name);
    END LOOP;
END $$;

-- The sender looks for what is due across tenants; it changes rows only under their own.
CREATE POLICY worker_reads ON endpoint FOR SELECT USING (is_worker());
CREATE POLICY worker_reads ON delivery FOR SELECT USING (is_worker() AND state = 'PENDING');
-- Housekeeping looks for tenants that receive.
CREATE POLICY worker_reads ON provider FOR SELECT USING (is_worker());
