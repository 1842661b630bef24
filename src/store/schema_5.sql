-- The audit records of changes, each stored in the transaction of its change, until they are in the audit trail.
CREATE TABLE records (
    seq BIGINT NOT NULL PRIMARY KEY,
    event_id TEXT NOT NULL,
    trail TEXT NOT NULL,
    position TEXT NOT NULL,
    made BIGINT NOT NULL,
    line TEXT NOT NULL
);
CREATE INDEX records_by_event ON records (event_id);

-- The last number that the feed has given, and the last whose deleted documents it has forgotten.
CREATE TABLE feed (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    last BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);
INSERT INTO feed (id, last, pruned) SELECT 1, COALESCE(MAX(seq), 0), 0 FROM changes;

-- How far the feed was at some times, by running time: what was deleted long ago is forgotten.
CREATE TABLE feed_marks (
    made BIGINT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);
