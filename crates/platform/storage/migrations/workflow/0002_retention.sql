-- A service's background work deletes what ended long ago, with its history and signals.
ALTER TABLE history
    DROP CONSTRAINT history_tenant_id_workflow_id_fkey,
    ADD FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows ON DELETE CASCADE;
ALTER TABLE signals
    DROP CONSTRAINT signals_tenant_id_workflow_id_fkey,
    ADD FOREIGN KEY (tenant_id, workflow_id) REFERENCES workflows ON DELETE CASCADE;

CREATE INDEX workflows_ended ON workflows (owner, ended_at) WHERE ended_at IS NOT NULL;

GRANT DELETE ON workflows TO malha_service;
CREATE POLICY worker_deletes ON workflows FOR DELETE TO malha_service
    USING (is_worker() AND owner = current_user);
-- Whatever other policies allow: what has not ended stays.
CREATE POLICY ended_alone ON workflows AS RESTRICTIVE FOR DELETE TO malha_service
    USING (is_worker() AND ended_at IS NOT NULL);

-- What belongs to a workflow goes with it, in its owner's name, and not by itself.
GRANT DELETE ON history, signals TO workflows;
CREATE POLICY with_workflow ON history AS RESTRICTIVE FOR DELETE USING (false);
CREATE POLICY with_workflow ON signals AS RESTRICTIVE FOR DELETE USING (false);
