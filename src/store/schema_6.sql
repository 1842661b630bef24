-- The last day on which each access key signed a call, as YYYYMMDD.
CREATE TABLE access_key_days (
    id TEXT NOT NULL PRIMARY KEY,
    used TEXT NOT NULL
);
