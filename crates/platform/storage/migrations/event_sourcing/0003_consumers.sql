-- Who reads, how far it has come, and what became of what it read. Each service reaches its own rows.

-- Processes of a consumer that are alive.
CREATE TABLE consumer_members (
    owner    name        NOT NULL DEFAULT current_user,
    consumer varchar(100) NOT NULL,
    member   uuid        NOT NULL,
    seen_at  timestamptz NOT NULL,
    PRIMARY KEY (owner, consumer, member)
);

-- How far a consumer has come in a partition, and which member reads it.
CREATE TABLE consumer_positions (
    owner       name         NOT NULL DEFAULT current_user,
    consumer    varchar(100) NOT NULL,
    topic       varchar(100) COLLATE "C" NOT NULL,
    partition   smallint     NOT NULL,
    -- Of the record that it reads next.
    position    bigint       NOT NULL,
    member      uuid,
    lease_until timestamptz  NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (owner, consumer, topic, partition)
) WITH (fillfactor = 50);

-- Events that a consumer has taken up, each written in the transaction of its effects: the primary
-- key is what makes an effect happen once.
CREATE TABLE inbox_events (
    owner       name         NOT NULL DEFAULT current_user,
    consumer    varchar(100) NOT NULL,
    event_id    uuid         NOT NULL,
    topic       varchar(100) COLLATE "C" NOT NULL,
    partition   smallint     NOT NULL,
    position    bigint       NOT NULL,
    received_at timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, consumer, event_id)
);
CREATE INDEX inbox_received_at ON inbox_events USING brin (received_at);

-- Events that a consumer could not take up yet, and later ones of the same key behind them.
CREATE TABLE parked_events (
    owner           name         NOT NULL DEFAULT current_user,
    consumer        varchar(100) NOT NULL,
    event_id        uuid         NOT NULL,
    sequence        bigint       GENERATED ALWAYS AS IDENTITY,
    topic           varchar(100) COLLATE "C" NOT NULL,
    partition       smallint     NOT NULL,
    position        bigint       NOT NULL,
    key             uuid         NOT NULL,
    event_type      varchar(100) NOT NULL,
    value           text         NOT NULL,
    -- DEAD: given up, until somebody asks for a replay.
    status          varchar(20)  NOT NULL DEFAULT 'RETRYING' CHECK (status IN ('RETRYING', 'DEAD')),
    attempts        integer      NOT NULL DEFAULT 0,
    next_attempt_at timestamptz  NOT NULL DEFAULT now(),
    error_message   text,
    parked_at       timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, consumer, event_id)
);
CREATE INDEX parked_keys ON parked_events (owner, consumer, key, sequence) WHERE status = 'RETRYING';

ALTER TABLE consumer_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE consumer_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE inbox_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE parked_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY owner ON consumer_members TO malha_service
    USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY owner ON consumer_positions TO malha_service
    USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY owner ON inbox_events TO malha_service
    USING (owner = current_user) WITH CHECK (owner = current_user);
CREATE POLICY owner ON parked_events TO malha_service
    USING (owner = current_user) WITH CHECK (owner = current_user);
GRANT SELECT, INSERT, UPDATE, DELETE ON consumer_members, consumer_positions, parked_events TO malha_service;
GRANT SELECT, INSERT ON inbox_events TO malha_service;
