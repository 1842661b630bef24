-- How long the deployment has run, by its last heartbeat, and the first jump of the clock that no operator has confirmed.
CREATE TABLE heartbeat (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    began BIGINT NOT NULL,
    last BIGINT NOT NULL,
    running BIGINT NOT NULL,
    jump_from BIGINT,
    jump_to BIGINT
);

-- The age of an intent is a matter of running time from here on, which begins now.
UPDATE intents SET made = 0;

-- The last successful cryptographic use of each key.
CREATE TABLE last_usage (
    region TEXT NOT NULL,
    key_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    used BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (region, key_id)
);
