-- What a server of the first version makes of an empty directory.sqlite3.
PRAGMA journal_mode = WAL;
CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    pubkey TEXT NOT NULL,
    privkey_store TEXT NOT NULL DEFAULT '',
    pake_password TEXT NOT NULL DEFAULT '',
    meta TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE groups (
    group_id TEXT PRIMARY KEY,
    creator_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    meta TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1
);
CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES groups (group_id),
    member_id TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'member',
    wrapped_key TEXT NOT NULL DEFAULT '',
    added_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, member_id)
);
CREATE TABLE attachments (
    user_id TEXT PRIMARY KEY REFERENCES users (user_id),
    home TEXT NOT NULL,
    caps TEXT NOT NULL,
    nonce TEXT NOT NULL,
    ts INTEGER NOT NULL,
    content_sig TEXT NOT NULL
);
CREATE TABLE memberships (
    server_id TEXT NOT NULL,
    introducer_id TEXT NOT NULL,
    statement TEXT NOT NULL,
    issued INTEGER NOT NULL,
    PRIMARY KEY (server_id, introducer_id)
);
INSERT INTO groups (group_id, creator_id, created_at) VALUES ('public', 'system', 1700000000000);
PRAGMA user_version = 1;
