-- Numbers of accounts without their check digit: 8 digits, unique over all tenants.
CREATE SEQUENCE account_number AS integer MINVALUE 1 MAXVALUE 99999999;

-- One account per user and currency. Its money is in the ledger, under the same id.
CREATE TABLE account (
    id         uuid        PRIMARY KEY,
    tenant_id  uuid        NOT NULL DEFAULT current_tenant(),
    user_id    uuid        NOT NULL,
    currency   text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    agency     text        NOT NULL CHECK (agency ~ '^[0-9]{4}$'),
    number     integer     NOT NULL DEFAULT nextval('account_number'),
    created_at timestamptz NOT NULL,
    opened_at  timestamptz, -- NULL until the ledger holds the account
    UNIQUE (tenant_id, user_id, currency),
    UNIQUE (agency, number)
);

ALTER TABLE account ENABLE ROW LEVEL SECURITY;
ALTER TABLE account FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON account
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
