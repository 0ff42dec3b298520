-- Work queues: jobs that one of many workers does once (T-06). A queue `maintenance.inspect` is worked
-- off by the service `maintenance`; every service may put jobs into it.
CREATE TABLE jobs (
    queue         varchar(100) COLLATE "C" NOT NULL,
    id            uuid         NOT NULL,
    body          text         NOT NULL,
    status        varchar(20)  NOT NULL DEFAULT 'READY' CHECK (status IN ('READY', 'DEAD')),
    attempts      integer      NOT NULL DEFAULT 0,
    -- When it may be taken; while somebody works on it, when it may be taken by another.
    run_at        timestamptz  NOT NULL,
    -- Names the worker's hold on it.
    lease         uuid,
    error_message text,
    created_at    timestamptz  NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, id)
);
CREATE INDEX jobs_due ON jobs (queue, run_at) WHERE status = 'READY';

ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY anybody_pushes ON jobs FOR INSERT TO malha_service WITH CHECK (is_worker());
CREATE POLICY worker_takes ON jobs TO malha_service
    USING (split_part(queue, '.', 1) = current_user AND is_worker());
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO malha_service;
