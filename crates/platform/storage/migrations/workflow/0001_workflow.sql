-- Sagas that are on their way, and what became of each step (crate `workflow`).
-- A row belongs to the service that started it: no other service's role sees it.

-- One row per workflow.
CREATE TABLE workflows (
    tenant_id      uuid        NOT NULL DEFAULT current_tenant(),
    id             uuid        NOT NULL,
    owner          text        NOT NULL DEFAULT current_user,
    -- The definition, its version, and the names and kinds of its steps when the workflow started.
    definition     text        NOT NULL,
    version        integer     NOT NULL CHECK (version > 0),
    steps          text[]      NOT NULL,
    kinds          text[]      NOT NULL,
    -- SHA-256 of the state it started with: a repeat is the same or refused.
    input_hash     bytea       NOT NULL,
    -- JSON as its definition writes it. Text, because jsonb refuses some strings that are JSON.
    state          text        NOT NULL,
    status         text        NOT NULL CHECK (status IN ('RUNNING', 'WAITING', 'COMPENSATING',
                       'COMPLETED', 'FAILED', 'CANCELLED', 'PARKED', 'MANUAL_INTERVENTION')),
    -- The step at hand, or at which it turned back.
    position       integer     NOT NULL DEFAULT 0 CHECK (position >= 0),
    -- Attempts at what is at hand, a step or a compensation, that brought no answer.
    attempts       integer     NOT NULL DEFAULT 0,
    -- Steps to compensate, those that were done last at the end.
    undo           integer[]   NOT NULL DEFAULT '{}',
    -- Why it turned back: the step, a stable reason, a sentence.
    failed_step    text,
    failed_reason  text,
    failed_message text,
    -- Why it stands still: the same of a step or a compensation.
    halted_step    text,
    halted_reason  text,
    halted_message text,
    cancelled      boolean     NOT NULL DEFAULT false,
    correlation_id text        NOT NULL,
    -- Until when the step at hand waits; null is for ever, or that it does not wait.
    wait_until     timestamptz,
    -- When a worker is to take it up. While one has it, when its lease ends.
    due_at         timestamptz,
    is_leased      boolean     NOT NULL DEFAULT false,
    -- Counts the leases: only the holder of the last one writes.
    fence          bigint      NOT NULL DEFAULT 0,
    -- Entries of its history.
    entries        bigint      NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    PRIMARY KEY (tenant_id, id),

    CHECK (cardinality(steps) = cardinality(kinds) AND position <= cardinality(steps)),
    CHECK ((failed_step IS NULL) = (failed_reason IS NULL)),
    CHECK ((status IN ('PARKED', 'MANUAL_INTERVENTION')) = (halted_reason IS NOT NULL)),
    CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (ended_at IS NOT NULL)),
    CHECK (ended_at IS NULL OR due_at IS NULL),
    CHECK (NOT is_leased OR due_at IS NOT NULL)
);

CREATE INDEX workflows_due ON workflows (owner, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX workflows_halted ON workflows (owner, status)
    WHERE status IN ('PARKED', 'MANUAL_INTERVENTION');
CREATE INDEX workflows_listed ON workflows (tenant_id, created_at DESC, id DESC);

-- One row per attempt at a step or a compensation, and per act of a person. Never changed.
CREATE TABLE history (
    tenant_id   uuid        NOT NULL DEFAULT current_tenant(),
    workflow_id uuid        NOT NULL,
    entry       bigint      NOT NULL,
    owner       text        NOT NULL DEFAULT current_user,
    at          timestamptz NOT NULL,
    event       text        NOT NULL,
    step        text        NOT NULL,
    attempt     integer     NOT NULL,
    reason      text        NOT NULL,
    message     text        NOT NULL,
    -- The user who did it, if a person did, and the words given with it.
    actor_id    uuid,
    comment     text        NOT NULL,
    PRIMARY KEY (tenant_id, workflow_id, entry),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows
);

-- What was told to a workflow. Kept until a step takes it, however early it came.
CREATE TABLE signals (
    tenant_id   uuid        NOT NULL DEFAULT current_tenant(),
    workflow_id uuid        NOT NULL,
    id          uuid        NOT NULL,
    owner       text        NOT NULL DEFAULT current_user,
    name        text        NOT NULL,
    payload     text        NOT NULL,
    received_at timestamptz NOT NULL,
    taken_at    timestamptz,
    PRIMARY KEY (tenant_id, workflow_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows
);

CREATE INDEX signals_waiting ON signals (tenant_id, workflow_id, name, received_at)
    WHERE taken_at IS NULL;

ALTER TABLE workflows ENABLE ROW LEVEL SECURITY;
ALTER TABLE workflows FORCE ROW LEVEL SECURITY;
ALTER TABLE history ENABLE ROW LEVEL SECURITY;
ALTER TABLE history FORCE ROW LEVEL SECURITY;
ALTER TABLE signals ENABLE ROW LEVEL SECURITY;
ALTER TABLE signals FORCE ROW LEVEL SECURITY;

-- A service: what it started, in the tenant of its transaction.
CREATE POLICY owner ON workflows TO malha_service
    USING (tenant_id = current_tenant() AND owner = current_user)
    WITH CHECK (tenant_id = current_tenant() AND owner = current_user);
CREATE POLICY owner ON history TO malha_service
    USING (tenant_id = current_tenant() AND owner = current_user)
    WITH CHECK (tenant_id = current_tenant() AND owner = current_user);
CREATE POLICY owner ON signals TO malha_service
    USING (tenant_id = current_tenant() AND owner = current_user)
    WITH CHECK (tenant_id = current_tenant() AND owner = current_user);

-- Its workers take up what is due in every tenant.
CREATE POLICY worker_reads ON workflows FOR SELECT TO malha_service
    USING (is_worker() AND owner = current_user);
CREATE POLICY worker_claims ON workflows FOR UPDATE TO malha_service
    USING (is_worker() AND owner = current_user) WITH CHECK (is_worker() AND owner = current_user);

-- The role of this schema shows operators what all services started, in their tenant.
CREATE POLICY operator ON workflows TO workflows
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY operator ON history TO workflows
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY operator ON signals TO workflows
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());

-- Nobody deletes; what is told and recorded does not change.
GRANT SELECT, INSERT, UPDATE ON workflows TO malha_service;
GRANT SELECT, INSERT ON history TO malha_service;
GRANT SELECT, INSERT, UPDATE (taken_at) ON signals TO malha_service;
REVOKE UPDATE, DELETE, TRUNCATE ON history FROM workflows;
REVOKE DELETE, TRUNCATE ON workflows, signals FROM workflows;
