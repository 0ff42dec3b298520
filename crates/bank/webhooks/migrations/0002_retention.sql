-- Of what was received long ago the id alone is kept, so that who sends it again has no effect (K-21).
ALTER TABLE inbound_message ALTER COLUMN body DROP NOT NULL;
CREATE INDEX inbound_message_bodies ON inbound_message (tenant_id, received_at) WHERE body IS NOT NULL;

-- Housekeeping looks for tenants that received, also from providers that are there no more.
CREATE POLICY worker_reads ON inbound_message FOR SELECT USING (is_worker());
