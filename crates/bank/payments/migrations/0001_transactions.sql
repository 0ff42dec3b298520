-- One row is one payment and one ledger transfer with the same id (L-39, L-40, L-41).
-- Users live in another service, so their ids have no foreign key.
CREATE TABLE transactions (
    id                    uuid PRIMARY KEY,
    tenant_id             uuid NOT NULL DEFAULT current_tenant(),
    sender_user_id        uuid NOT NULL,
    receiver_user_id      uuid NOT NULL,
    amount                numeric NOT NULL CHECK (amount > 0),
    currency              text NOT NULL,
    description           text NOT NULL,
    status                text NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'REVERSED')),
    type                  text NOT NULL CHECK (type IN ('TRANSFER', 'DEPOSIT', 'WITHDRAWAL')),
    metadata              jsonb,
    created_at            timestamptz NOT NULL,
    processed_at          timestamptz,
    failure_reason        text,
    -- What to ask the ledger for, whenever that must be asked again.
    debit_account_id      uuid NOT NULL,
    credit_account_id     uuid NOT NULL,
    -- The sender's key, and the SHA-256 of what it was first used for.
    idempotency_key       text,
    fingerprint           bytea,
    -- The ledger never forgets a refused id, so every attempt at a reversal has a number.
    reversal_attempts     integer NOT NULL DEFAULT 0,
    reversal_requested_at timestamptz,
    reversal_refusal      text,
    reversed_at           timestamptz,
    -- Set while the ledger was asked for something and its answer is not yet recorded:
    -- when recovery is to ask again.
    recover_at            timestamptz,

    CHECK ((status = 'PENDING') = (processed_at IS NULL)),
    CHECK ((status = 'FAILED') = (failure_reason IS NOT NULL)),
    CHECK ((status = 'REVERSED') = (reversed_at IS NOT NULL)),
    CHECK (status <> 'PENDING' OR recover_at IS NOT NULL),
    CHECK (status NOT IN ('FAILED', 'REVERSED') OR recover_at IS NULL),
    CHECK (debit_account_id <> credit_account_id),
    CHECK ((idempotency_key IS NULL) = (fingerprint IS NULL))
);

CREATE UNIQUE INDEX transactions_idempotency_key
    ON transactions (tenant_id, sender_user_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX transactions_sender ON transactions (sender_user_id, created_at DESC, id DESC);
CREATE INDEX transactions_receiver ON transactions (receiver_user_id, created_at DESC, id DESC);
CREATE INDEX transactions_tenant ON transactions (tenant_id, created_at DESC, id DESC);
CREATE INDEX transactions_recover_at ON transactions (recover_at) WHERE recover_at IS NOT NULL;

-- No policy admits DELETE: a row stays for ever (L-37).
ALTER TABLE transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE transactions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_reads ON transactions FOR SELECT
    USING (tenant_id = current_tenant());
CREATE POLICY tenant_inserts ON transactions FOR INSERT
    WITH CHECK (tenant_id = current_tenant());
CREATE POLICY tenant_updates ON transactions FOR UPDATE
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- Recovery looks for work across tenants; it changes rows only under their own.
CREATE POLICY worker_reads ON transactions FOR SELECT
    USING (is_worker() AND recover_at IS NOT NULL);
