-- Where a customer gets text messages (E.164); empty for nowhere.
ALTER TABLE customer ADD COLUMN phone text NOT NULL DEFAULT '';
