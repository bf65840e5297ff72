"""The tables of both databases, as format 1 creates them.

Bodies lie apart from their entries: deleting a range of them frees whole pages. SQLite zeroes what it
deletes, but when a deletion makes it move the neighbours to another page, it leaves their old copies in the
gap; no row of `entries` is ever deleted or grown, and a body is forgotten by emptying it in place, so that
only retention moves bodies.
"""

from __future__ import annotations

EXAMPLE = "example"
LIVE, DROPPED, FORGOTTEN = 0, 1, 2
"""An entry's status as it is stored: numbers whose rows do not grow when it changes."""

INGEST = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, seal TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries(
    seq INTEGER PRIMARY KEY, id TEXT UNIQUE, kind TEXT NOT NULL, sha256 BLOB, source TEXT,
    source_offset INTEGER, principal TEXT, received_at REAL NOT NULL, after INTEGER, command BLOB,
    status INTEGER NOT NULL);
CREATE TABLE bodies(seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE INDEX commands ON entries(seq) WHERE kind <> 'example';
CREATE TABLE derived(parent TEXT, seq INTEGER, PRIMARY KEY (parent, seq)) WITHOUT ROWID;
CREATE TABLE sources(name TEXT PRIMARY KEY, offset INTEGER NOT NULL, fingerprint TEXT, read_at REAL NOT NULL);
CREATE TABLE quarantine(
    n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, source TEXT, source_offset INTEGER,
    body BLOB NOT NULL, sha256 BLOB NOT NULL, reason TEXT NOT NULL, received_at REAL NOT NULL,
    principal TEXT, parents TEXT NOT NULL, UNIQUE (id, sha256, parents));
CREATE TABLE idempotency(
    key TEXT PRIMARY KEY, sha256 BLOB NOT NULL, response TEXT NOT NULL, received_at REAL NOT NULL);
CREATE TABLE totals(name TEXT PRIMARY KEY, rows INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO totals VALUES
    ('live', 0, 0), ('dropped', 0, 0), ('forgotten', 0, 0), ('commands', 0, 0), ('quarantined', 0, 0),
    ('duplicates', 0, 0);
"""

GONE = f"""status = {DROPPED} AND sha256 IS NOT NULL AND body IS NULL
    OR status = {FORGOTTEN} AND sha256 IS NULL AND coalesce(body, x'') = x''"""
"""Whether an example was dropped or forgotten, and all of its row says so."""

ENTRY = f"""SELECT
    seq, id, kind, CASE status WHEN {LIVE} THEN coalesce(body, command) END, source, source_offset,
    principal, received_at, after,
    CASE WHEN status = {LIVE} THEN 'live'
        WHEN {GONE} THEN CASE status WHEN {DROPPED} THEN 'dropped' ELSE 'forgotten' END END,
    CASE status WHEN {LIVE} THEN sha256 END
    FROM entries LEFT JOIN bodies USING (seq) WHERE"""
"""Selects the fields of an `Entry`, in order."""

BETWEEN = f"""SELECT count(*) FROM entries LEFT JOIN bodies USING (seq)
    WHERE seq > ? AND seq <= ? AND (kind <> '{EXAMPLE}' AND id IS NULL OR kind = '{EXAMPLE}' AND ({GONE}))"""
"""Counts the entries of a stretch that are rightly no live examples."""

STATE = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, seal TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE steps(
    k INTEGER PRIMARY KEY, first_seq INTEGER, last_seq INTEGER, rows INTEGER NOT NULL, replayed BLOB NOT NULL,
    lr REAL NOT NULL, loss REAL, correct INTEGER, verdict TEXT NOT NULL, digest TEXT);
CREATE TABLE memory(slot INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE snapshots(
    k INTEGER PRIMARY KEY, name TEXT UNIQUE, cursor TEXT NOT NULL, manifest TEXT NOT NULL,
    digest TEXT NOT NULL, environment TEXT NOT NULL, created_at REAL NOT NULL, pinned INTEGER NOT NULL,
    seal TEXT NOT NULL);
CREATE TABLE events(
    n INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE audit(
    n INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, prev TEXT NOT NULL,
    hash TEXT NOT NULL);
"""
