-- One row is one idempotency key: a lock while its request is carried out, then the answer.
-- The key is a SHA-256 that holds tenant and user; there is no other way to a row, so no policy
-- separates tenants here.
CREATE TABLE idempotency (
    key         text PRIMARY KEY,
    -- SHA-256 of the request, so that the key is good for no other.
    fingerprint bytea NOT NULL,
    -- Random for each attempt: who lost the lock cannot complete or release it.
    owner       uuid NOT NULL,
    status_code smallint,
    -- Lines as HTTP has them.
    headers     bytea,
    -- Absent where the answer was too large.
    body        bytea,
    created_at  timestamptz,
    expires_at  timestamptz NOT NULL,

    CHECK ((status_code IS NULL) = (created_at IS NULL)),
    CHECK ((status_code IS NULL) = (headers IS NULL)),
    CHECK (body IS NULL OR status_code IS NOT NULL)
);

CREATE INDEX idempotency_expires_at ON idempotency (expires_at);
