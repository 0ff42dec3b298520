-- What services have to tell, written in the transaction of the change itself (K-25, K-28 to K-30).
CREATE TABLE outbox_events (
    id              uuid         PRIMARY KEY DEFAULT gen_random_uuid(),
    aggregate_type  varchar(100) NOT NULL,
    aggregate_id    uuid         NOT NULL,
    event_type      varchar(100) NOT NULL,
    payload         jsonb        NOT NULL,
    metadata        jsonb        DEFAULT '{}',
    status          varchar(20)  DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'PUBLISHED', 'FAILED')),
    -- Retries, not attempts: the first attempt is none. So the sixth failure fits: it makes the row
    -- FAILED and leaves the count at its limit.
    retry_count     integer      DEFAULT 0,
    max_retries     integer      DEFAULT 5,
    created_at      timestamptz  DEFAULT now(),
    published_at    timestamptz,
    error_message   text,

    -- The order of what happened to one aggregate, if each transaction writes the row that it changes
    -- before it publishes.
    sequence        bigint       GENERATED ALWAYS AS IDENTITY,
    tenant_id       uuid         NOT NULL,
    producer        name         NOT NULL DEFAULT current_user,
    topic           varchar(100) NOT NULL,
    -- All events of an aggregate are in one lane, and a lane has one relay at a time.
    lane            smallint     NOT NULL GENERATED ALWAYS AS (get_byte(uuid_send(aggregate_id), 15) % 16) STORED,
    next_attempt_at timestamptz  NOT NULL DEFAULT '-infinity',

    CONSTRAINT outbox_retry_limit CHECK (retry_count <= max_retries)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX idx_outbox_pending ON outbox_events (status, created_at) WHERE status = 'PENDING';
CREATE INDEX idx_outbox_aggregate ON outbox_events (aggregate_type, aggregate_id);
-- In the order of the relay.
CREATE INDEX outbox_due ON outbox_events (sequence) WHERE status = 'PENDING';
-- Those that hold back the later events of their aggregate; very few.
CREATE INDEX outbox_held ON outbox_events (aggregate_id, sequence)
    WHERE status = 'FAILED' OR (status = 'PENDING' AND retry_count > 0);
-- Those that are old enough to be removed.
CREATE INDEX outbox_published ON outbox_events USING brin (published_at);

-- Locked by the relay that works on a lane.
CREATE TABLE outbox_lanes (lane smallint PRIMARY KEY);
INSERT INTO outbox_lanes SELECT generate_series(0, 15);

-- A service adds events in its own name and reads its own; whatever becomes of them is the relay's.
ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY producer_inserts ON outbox_events FOR INSERT TO malha_service
    WITH CHECK (producer = current_user AND (tenant_id = current_tenant() OR is_worker()));
CREATE POLICY producer_reads ON outbox_events FOR SELECT TO malha_service
    USING (producer = current_user AND (tenant_id = current_tenant() OR is_worker()));
GRANT SELECT ON outbox_events TO malha_service;
GRANT INSERT (id, aggregate_type, aggregate_id, event_type, payload, metadata, created_at, tenant_id, topic)
    ON outbox_events TO malha_service;
