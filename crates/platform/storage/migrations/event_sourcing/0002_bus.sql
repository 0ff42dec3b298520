-- The bus in PostgreSQL: each topic is 16 logs, its partitions.
CREATE TABLE bus_partitions (
    topic         varchar(100) COLLATE "C" NOT NULL,
    partition     smallint NOT NULL,
    -- Of the record that is appended next. Locked while records are appended, so that positions
    -- become visible in their order and without gaps.
    next_position bigint   NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE bus_records (
    topic       varchar(100) COLLATE "C" NOT NULL,
    partition   smallint    NOT NULL,
    position    bigint      NOT NULL,
    appended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    key         uuid        NOT NULL,
    -- Event in its envelope: CloudEvents 1.0, structured JSON, digit for digit.
    value       text        NOT NULL,
    PRIMARY KEY (topic, partition, position)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05);
CREATE INDEX bus_records_appended_at ON bus_records USING brin (appended_at);

-- The bus carries events of all tenants: only background work reads it, no request.
ALTER TABLE bus_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY workers_read ON bus_records FOR SELECT TO malha_service USING (is_worker());
GRANT SELECT ON bus_partitions, bus_records TO malha_service;
