-- Small documents. `parent` names the document that this one belongs to: an alias its key, an access key its principal.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT,
    revision BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX documents_by_parent ON documents (kind, parent);

-- The feed: when each document was last changed, or deleted. Written in the transaction of the change.
CREATE TABLE changes (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE UNIQUE INDEX changes_by_seq ON changes (seq);

-- Objects that are about to be made on an HSM, and that no key names yet.
CREATE TABLE intents (
    cka_id TEXT NOT NULL PRIMARY KEY,
    region TEXT NOT NULL,
    key_id TEXT NOT NULL,
    spec TEXT NOT NULL,
    made BIGINT NOT NULL
);
CREATE INDEX intents_by_age ON intents (made);

-- How many GCM invocations of each material may have happened.
CREATE TABLE invocations (
    material TEXT NOT NULL PRIMARY KEY,
    reserved BIGINT NOT NULL
);
