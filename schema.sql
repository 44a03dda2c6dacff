-- Tidegate's tables. `tidegate init` applies this file; it is safe to apply again.
-- Version of this file: the number at the end. A process refuses to start on another.

CREATE TABLE IF NOT EXISTS tidegate_schema (
    version    integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- The dedupe row, the record and the outcome of every event that took effect. An event that is retried or dead has
-- no row here: the transaction that decides so removes it.
CREATE TABLE IF NOT EXISTS events (
    source            text        NOT NULL,
    provider_event_id text        NOT NULL,
    event_type        text        NOT NULL,
    occurred_at       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL,
    applied_at        timestamptz NOT NULL DEFAULT now(),
    key               text        NOT NULL DEFAULT '',
    delivery_id       uuid        NOT NULL,
    outcome           text        NOT NULL CHECK (outcome IN ('applied', 'ignored')),
    payload           jsonb       NOT NULL,
    PRIMARY KEY (source, provider_event_id)
);
-- Rows arrive in time order, so a block-range index answers "what came in between" at next to no cost for the worker.
CREATE INDEX IF NOT EXISTS events_applied_at ON events USING brin (applied_at);

-- Deliveries that could not be applied, with the bytes as received: what jsonb refuses must still be able to lie here.
-- replay_count counts how often a letter went back to the stream. It has died replay_count times, once more while it is
-- open or discarded; `tidegate audit` relies on that.
CREATE TABLE IF NOT EXISTS dead_letters (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    source            text        NOT NULL,
    provider_event_id text        NOT NULL,
    event_type        text        NOT NULL,
    payload           bytea       NOT NULL,
    headers           jsonb       NOT NULL DEFAULT '{}',
    reason            text        NOT NULL,
    error             text        NOT NULL DEFAULT '',
    attempts          integer     NOT NULL DEFAULT 1,
    history           jsonb       NOT NULL DEFAULT '[]',
    status            text        NOT NULL DEFAULT 'open'
                      CHECK (status IN ('open', 'replaying', 'resolved', 'discarded')),
    replay_count      integer     NOT NULL DEFAULT 0,
    delivery_id       uuid        NOT NULL UNIQUE,
    received_at       timestamptz NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    resolved_at       timestamptz,
    -- How the event was on the stream, so that a replay is the same delivery again.
    meta              jsonb       NOT NULL DEFAULT '{}',
    shard             integer     NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS dead_letters_newest ON dead_letters (created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS dead_letters_open ON dead_letters (source, created_at DESC, id DESC) WHERE status = 'open';

-- What the gates accepted while Redis was away, until a worker moves it to the streams. Bounded: see inbox_meter.
CREATE TABLE IF NOT EXISTS inbox (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the order of arrival at each gate
    source            text        NOT NULL,
    provider_event_id text        NOT NULL,
    meta              bytea       NOT NULL, -- as on the stream: a worker of another version must be able to make a letter of it
    payload           bytea       NOT NULL,
    received_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (source, provider_event_id)
);
-- One row, changed in the same transaction as rows of inbox. Whoever adds holds it until the commit, so that all gates
-- together stay within the bounds; and stored_total = moved_total + the rows of inbox, or `tidegate audit` says so.
CREATE TABLE IF NOT EXISTS inbox_meter (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    rows         bigint  NOT NULL DEFAULT 0,
    bytes        bigint  NOT NULL DEFAULT 0, -- of meta and payload
    stored_total bigint  NOT NULL DEFAULT 0,
    moved_total  bigint  NOT NULL DEFAULT 0
);
INSERT INTO inbox_meter DEFAULT VALUES ON CONFLICT DO NOTHING;

-- Each life of the data on a shard of Redis, and how it was when last seen. A second one on a shard means that Redis was
-- emptied: what its ledger counted before is only known from here.
CREATE TABLE IF NOT EXISTS redis_epochs (
    shard         integer     NOT NULL,
    epoch         text        NOT NULL,
    began_at      timestamptz NOT NULL, -- by the clock of Redis, as last_at is
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_at       timestamptz NOT NULL,
    last_seen     jsonb       NOT NULL, -- the ledger over all sources, and the lengths of both streams
    PRIMARY KEY (shard, epoch)
);

-- The engagement read model: what the built-in handlers write.
CREATE TABLE IF NOT EXISTS campaigns (
    campaign_id text        PRIMARY KEY,
    name        text        NOT NULL DEFAULT '',
    refs        jsonb       NOT NULL DEFAULT '{}', -- provider -> that provider's name for this campaign
    created_at  timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS campaigns_lemlist ON campaigns ((refs ->> 'lemlist'));

CREATE TABLE IF NOT EXISTS enrollments (
    enrollment_id  text        PRIMARY KEY,
    campaign_id    text        NOT NULL REFERENCES campaigns,
    email          text        NOT NULL DEFAULT '',
    refs           jsonb       NOT NULL DEFAULT '{}', -- provider -> that provider's name for this contact
    status         text        NOT NULL CHECK (status IN ('active', 'paused', 'completed')),
    status_at      timestamptz NOT NULL, -- occurred_at of the event that set status: an older one does not
    enrolled_at    timestamptz NOT NULL,
    last_action    text,
    last_action_at timestamptz
);
CREATE INDEX IF NOT EXISTS enrollments_lemlist ON enrollments ((refs ->> 'lemlist'));
CREATE INDEX IF NOT EXISTS enrollments_hubspot ON enrollments ((refs ->> 'hubspot'));

CREATE TABLE IF NOT EXISTS campaign_metrics (
    campaign_id text   NOT NULL,
    event_type  text   NOT NULL
                CHECK (event_type IN ('sent', 'opened', 'clicked', 'replied', 'bounced', 'unsubscribed', 'failed')),
    count       bigint NOT NULL,
    PRIMARY KEY (campaign_id, event_type)
);

INSERT INTO tidegate_schema (version) VALUES (2) ON CONFLICT DO NOTHING;
