-- Deliveries are deleted with their attempts, which are looked for by the delivery alone.
CREATE INDEX attempt_delivery ON attempt (delivery_id);
