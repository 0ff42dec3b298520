-- What was told long ago is deleted, with its deliveries.
ALTER TABLE delivery
    DROP CONSTRAINT delivery_tenant_id_notification_id_fkey,
    ADD FOREIGN KEY (tenant_id, notification_id) REFERENCES notification ON DELETE CASCADE;
CREATE INDEX notification_created_at ON notification (tenant_id, created_at);
