-- Made from the migrations by `make docs`: what they make of an empty database, up to version 0026.

CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE attempts (
	delivery_id BLOB NOT NULL,
	number INTEGER NOT NULL,
	id BLOB NOT NULL,
	started_ms BIGINT NOT NULL,
	duration_ms INTEGER NOT NULL,
	status_code INTEGER,
	error VARCHAR(32),
	detail TEXT,
	response_headers BLOB NOT NULL,
	response_body BLOB NOT NULL,
	"trigger" VARCHAR(16) NOT NULL,
	PRIMARY KEY (delivery_id, number)
);

CREATE TABLE events (
	id BLOB NOT NULL,
	tenant VARCHAR(64) NOT NULL,
	type VARCHAR(128) NOT NULL,
	data BLOB NOT NULL,
	occurred_ms BIGINT NOT NULL,
	created_ms BIGINT NOT NULL,
	deliveries INTEGER NOT NULL,
	idempotency_key TEXT,
	fingerprint BLOB, deliver_ms BIGINT, expires_ms BIGINT, traceparent VARCHAR(55), ordering_key VARCHAR(128),
	PRIMARY KEY (id)
);

CREATE UNIQUE INDEX events_by_idempotency_key ON events (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE facts (
	name VARCHAR(64) NOT NULL,
	value BLOB NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE keys (
	id BLOB NOT NULL,
	name TEXT NOT NULL,
	prefix VARCHAR(16) NOT NULL,
	hash BLOB NOT NULL,
	scopes TEXT NOT NULL,
	created_ms BIGINT NOT NULL,
	expires_ms BIGINT,
	revoked_ms BIGINT,
	revision BIGINT NOT NULL, tenant VARCHAR(64), last_used_ms BIGINT,
	PRIMARY KEY (id),
	UNIQUE (hash)
);

CREATE INDEX keys_by_revision ON keys (revision);

CREATE TABLE revisions (
	name VARCHAR(64) NOT NULL,
	value BIGINT NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE tenants (
	id VARCHAR(64) NOT NULL,
	name TEXT NOT NULL,
	created_ms BIGINT NOT NULL,
	revision BIGINT NOT NULL, endpoints INTEGER DEFAULT '0' NOT NULL, metadata TEXT DEFAULT '{}' NOT NULL, limits TEXT DEFAULT '{}' NOT NULL, deleted_ms BIGINT, removed_up_to BLOB, removed_ms BIGINT, verification VARCHAR(16), defaults TEXT DEFAULT '{}' NOT NULL,
	PRIMARY KEY (id)
);

CREATE INDEX tenants_by_revision ON tenants (revision);

CREATE TABLE endpoints (
	id BLOB NOT NULL,
	tenant VARCHAR(64) NOT NULL,
	url TEXT NOT NULL,
	description TEXT NOT NULL,
	subscriptions TEXT NOT NULL,
	headers BLOB NOT NULL,
	metadata TEXT NOT NULL,
	state VARCHAR(16) NOT NULL,
	state_reason TEXT,
	created_ms BIGINT NOT NULL,
	updated_ms BIGINT NOT NULL,
	deleted_ms BIGINT,
	revision BIGINT NOT NULL, settings BLOB, verified_url TEXT,
	PRIMARY KEY (id),
	FOREIGN KEY(tenant) REFERENCES tenants (id)
);

CREATE INDEX endpoints_by_revision ON endpoints (revision);

CREATE INDEX endpoints_by_tenant ON endpoints (tenant, id);

CREATE TABLE deliveries (
	id BLOB NOT NULL,
	event_id BLOB NOT NULL,
	endpoint_id BLOB NOT NULL,
	state SMALLINT NOT NULL,
	attempt_count INTEGER NOT NULL,
	schedule_step INTEGER NOT NULL,
	"trigger" VARCHAR(16) NOT NULL,
	due_ms BIGINT,
	lease_token BIGINT,
	lease_until_ms BIGINT,
	last_status_code INTEGER,
	last_error VARCHAR(32),
	created_ms BIGINT NOT NULL,
	finished_ms BIGINT, again_ms BIGINT, batch_id BLOB, sequence VARCHAR(129),
	PRIMARY KEY (id),
	FOREIGN KEY(endpoint_id) REFERENCES endpoints (id),
	FOREIGN KEY(event_id) REFERENCES events (id)
)
 WITHOUT ROWID
;

CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint_id, id);

CREATE INDEX deliveries_by_event ON deliveries (event_id);

CREATE TABLE secrets (
	id BLOB NOT NULL,
	endpoint_id BLOB NOT NULL,
	sealed BLOB NOT NULL,
	created_ms BIGINT NOT NULL,
	expires_ms BIGINT,
	PRIMARY KEY (id),
	FOREIGN KEY(endpoint_id) REFERENCES endpoints (id)
);

CREATE INDEX secrets_by_endpoint ON secrets (endpoint_id);

CREATE TABLE fanout_pages (
	event_id BLOB NOT NULL,
	number INTEGER NOT NULL,
	targets INTEGER NOT NULL,
	endpoint_ids BLOB NOT NULL,
	PRIMARY KEY (event_id, number)
);

CREATE INDEX fanout_pages_in_turn ON fanout_pages (number, event_id);

CREATE INDEX tenants_deleted ON tenants (deleted_ms) WHERE deleted_ms IS NOT NULL;

CREATE INDEX keys_by_tenant ON keys (tenant, id);

CREATE TABLE audit (
	id BLOB NOT NULL,
	at_ms BIGINT NOT NULL,
	action VARCHAR(64) NOT NULL,
	actor VARCHAR(64) NOT NULL,
	tenant VARCHAR(64),
	subject VARCHAR(80) NOT NULL,
	request_id VARCHAR(64),
	"before" TEXT,
	"after" TEXT,
	PRIMARY KEY (id)
);

CREATE INDEX audit_by_tenant ON audit (tenant, id);

CREATE TABLE replays (
	id BLOB NOT NULL,
	endpoint_id BLOB NOT NULL,
	tenant VARCHAR(64) NOT NULL,
	criteria TEXT NOT NULL,
	dry_run SMALLINT NOT NULL,
	state VARCHAR(16) NOT NULL,
	reason TEXT,
	up_to BLOB NOT NULL,
	looked_at BIGINT DEFAULT '0' NOT NULL,
	retried BIGINT DEFAULT '0' NOT NULL,
	created BIGINT DEFAULT '0' NOT NULL,
	expired BIGINT DEFAULT '0' NOT NULL,
	created_ms BIGINT NOT NULL,
	updated_ms BIGINT NOT NULL,
	finished_ms BIGINT,
	PRIMARY KEY (id)
);

CREATE INDEX replays_by_endpoint ON replays (endpoint_id, id);

CREATE INDEX replays_running ON replays (id) WHERE state = 'running';

CREATE INDEX deliveries_replaying ON deliveries (endpoint_id) WHERE state = 0 AND trigger = 'replay';

CREATE TABLE tally_journal (
	id INTEGER NOT NULL,
	entries BLOB NOT NULL,
	PRIMARY KEY (id)
);

CREATE TABLE rollups (
	tenant VARCHAR(64) NOT NULL,
	endpoint_id BLOB NOT NULL,
	span SMALLINT NOT NULL,
	start_ms BIGINT NOT NULL,
	succeeded BIGINT NOT NULL,
	exhausted BIGINT NOT NULL,
	cancelled BIGINT NOT NULL,
	attempts_succeeded BIGINT NOT NULL,
	attempts_failed BIGINT NOT NULL,
	attempt_ms BLOB NOT NULL,
	delivery_ms BLOB NOT NULL,
	PRIMARY KEY (tenant, endpoint_id, span, start_ms)
);

CREATE INDEX rollups_by_start ON rollups (span, start_ms);

CREATE TABLE event_types (
	name VARCHAR(128) NOT NULL,
	description TEXT NOT NULL,
	schema TEXT,
	version VARCHAR(64) NOT NULL,
	examples TEXT NOT NULL,
	deprecated SMALLINT NOT NULL,
	validate SMALLINT NOT NULL,
	created_ms BIGINT NOT NULL,
	updated_ms BIGINT NOT NULL,
	PRIMARY KEY (name)
);

CREATE TABLE failing (
	endpoint_id BLOB NOT NULL,
	since_ms BIGINT NOT NULL,
	last_ms BIGINT NOT NULL,
	warnings SMALLINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (endpoint_id)
);

CREATE TABLE lanes (
	endpoint_id BLOB NOT NULL,
	owner BIGINT NOT NULL,
	until_ms BIGINT NOT NULL,
	waiting_for VARCHAR(16),
	circuit TEXT,
	PRIMARY KEY (endpoint_id)
);

CREATE TABLE kept_answers (
	id BLOB NOT NULL,
	fingerprint BLOB NOT NULL,
	started_ms BIGINT NOT NULL,
	status SMALLINT,
	sealed BLOB,
	PRIMARY KEY (id)
);

CREATE INDEX kept_answers_by_start ON kept_answers (started_ms);

CREATE INDEX deliveries_in_batches ON deliveries (endpoint_id, batch_id) WHERE state = 0 AND batch_id IS NOT NULL;

CREATE INDEX deliveries_in_order ON deliveries (endpoint_id, sequence, id) WHERE state = 0 AND sequence IS NOT NULL;

CREATE INDEX deliveries_blocking ON deliveries (endpoint_id, sequence, id) WHERE state = 2 AND sequence IS NOT NULL;

CREATE TABLE rearrangements (
	endpoint_id BLOB NOT NULL,
	holds SMALLINT NOT NULL,
	behind BLOB NOT NULL,
	up_to BLOB,
	moved BIGINT DEFAULT '0' NOT NULL,
	PRIMARY KEY (endpoint_id)
);

CREATE TABLE holds (
	endpoint_id BLOB NOT NULL,
	until_ms BIGINT NOT NULL,
	PRIMARY KEY (endpoint_id)
);

CREATE INDEX holds_by_end ON holds (until_ms);

CREATE INDEX deliveries_due ON deliveries (endpoint_id, due_ms, id) WHERE state = 0 AND sequence IS NULL AND lease_until_ms IS NULL;

CREATE INDEX deliveries_leased ON deliveries (endpoint_id, lease_until_ms, id) WHERE state = 0 AND sequence IS NULL AND lease_until_ms IS NOT NULL;

INSERT INTO alembic_version (version_num) VALUES ('0026');

INSERT INTO revisions (name, value) VALUES ('control', 2);

INSERT INTO revisions (name, value) VALUES ('event_types', 0);

INSERT INTO tenants (id, name, created_ms, revision, endpoints, metadata, limits, deleted_ms, removed_up_to, removed_ms, verification, defaults) VALUES ('default', 'default', 0, 1, 0, '{}', '{}', NULL, NULL, NULL, NULL, '{}');

INSERT INTO tenants (id, name, created_ms, revision, endpoints, metadata, limits, deleted_ms, removed_up_to, removed_ms, verification, defaults) VALUES ('@tellwire', 'Tellwire', 0, 2, 0, '{}', '{}', NULL, NULL, NULL, NULL, '{}')
