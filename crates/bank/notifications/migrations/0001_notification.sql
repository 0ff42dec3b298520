-- What users are told, once per deduplication key. The columns from `sequence` on are what stands in
-- the app; they are empty where the user does not want it there.
CREATE TABLE notification (
    tenant_id  uuid        NOT NULL DEFAULT current_tenant(),
    id         uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    dedup_key  text        NOT NULL,
    category   text        NOT NULL,
    template   text        NOT NULL,
    locale     text        NOT NULL,
    variables  jsonb       NOT NULL, -- {name: text}; emptied when no delivery needs them any more
    recipient  jsonb,                -- {name, email, phone} in place of the profile's; emptied too
    created_at timestamptz NOT NULL,
    sequence   bigint      CHECK (sequence > 0),
    title      text,
    body       text,
    read_at    timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, user_id, dedup_key),
    UNIQUE (tenant_id, user_id, sequence),
    CHECK ((sequence IS NULL) = (title IS NULL) AND (sequence IS NULL) = (body IS NULL))
);
CREATE INDEX notification_unread ON notification (tenant_id, user_id, sequence)
    WHERE sequence IS NOT NULL AND read_at IS NULL;

-- How much each user has in the app. Its row is the turn that writers take, so sequences have no gaps
-- and become visible in their order.
CREATE TABLE inbox (
    tenant_id uuid    NOT NULL DEFAULT current_tenant(),
    user_id   uuid    NOT NULL,
    sequence  bigint  NOT NULL DEFAULT 0, -- of the newest
    unread    integer NOT NULL DEFAULT 0 CHECK (unread >= 0),
    PRIMARY KEY (tenant_id, user_id)
);

-- One notification on one channel.
CREATE TABLE delivery (
    tenant_id          uuid        NOT NULL DEFAULT current_tenant(),
    id                 uuid        NOT NULL,
    notification_id    uuid        NOT NULL,
    user_id            uuid        NOT NULL,
    category           text        NOT NULL,
    template           text        NOT NULL,
    channel            text        NOT NULL CHECK (channel IN ('IN_APP', 'EMAIL', 'SMS', 'PUSH')),
    status             text        NOT NULL
        CHECK (status IN ('PENDING', 'HELD', 'STANDBY', 'SENT', 'FAILED', 'SKIPPED')),
    reason             text        NOT NULL DEFAULT '',
    address            text        NOT NULL DEFAULT '', -- masked
    attempts           integer     NOT NULL DEFAULT 0,
    next_attempt_at    timestamptz, -- while PENDING or HELD; also the end of the claim of who tries it
    provider_reference text        NOT NULL DEFAULT '',
    created_at         timestamptz NOT NULL,
    ended_at           timestamptz,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, notification_id, channel),
    FOREIGN KEY (tenant_id, notification_id) REFERENCES notification,
    CHECK ((status IN ('PENDING', 'HELD')) = (next_attempt_at IS NOT NULL)),
    CHECK ((status IN ('SENT', 'FAILED', 'SKIPPED')) = (ended_at IS NOT NULL))
);
CREATE INDEX delivery_due ON delivery (channel, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX delivery_of_user ON delivery (tenant_id, user_id, id);

-- How users want to be told; no row means by the defaults.
CREATE TABLE preferences (
    tenant_id   uuid        NOT NULL DEFAULT current_tenant(),
    user_id     uuid        NOT NULL,
    locale      text,
    time_zone   text,
    quiet_from  smallint    CHECK (quiet_from BETWEEN 0 AND 1439), -- minutes after midnight
    quiet_until smallint    CHECK (quiet_until BETWEEN 0 AND 1439),
    switches    jsonb       NOT NULL DEFAULT '[]', -- [{category, channel, enabled}], the user's own
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL))
);

ALTER TABLE notification ENABLE ROW LEVEL SECURITY;
ALTER TABLE notification FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON notification
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());

ALTER TABLE inbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON inbox
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());

ALTER TABLE delivery ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON delivery
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- Who delivers finds what is due of every tenant, and works on it as that tenant.
CREATE POLICY worker ON delivery FOR SELECT USING (is_worker());

ALTER TABLE preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE preferences FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON preferences
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
