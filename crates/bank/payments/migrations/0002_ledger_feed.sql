-- How far the changes of the ledger were told, for each tenant that has payments (K-16).
CREATE TABLE ledger_feed (
    tenant_id uuid   PRIMARY KEY DEFAULT current_tenant(),
    sequence  bigint NOT NULL DEFAULT 0
);

ALTER TABLE ledger_feed ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger_feed FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON ledger_feed
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- The feed looks for tenants; it moves their rows only under their own.
CREATE POLICY worker ON ledger_feed FOR SELECT USING (is_worker());
