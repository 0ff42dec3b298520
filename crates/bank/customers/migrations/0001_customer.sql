-- Profiles of people, who are users of identity under the same id.
CREATE TABLE customer (
    tenant_id       uuid        NOT NULL DEFAULT current_tenant(),
    id              uuid        NOT NULL,
    name            text        NOT NULL CHECK (name <> ''),
    email           text        NOT NULL,
    address         text        NOT NULL,
    profile_picture text        NOT NULL DEFAULT '',
    banking_details jsonb       NOT NULL, -- {agency, accountNumber, accountType}
    is_active       boolean     NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, email)
);

ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
ALTER TABLE customer FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON customer
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
