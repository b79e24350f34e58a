"""The tables of the state, their version, and how an older one becomes a newer one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

VERSION = 4

# What a job of a run is from the time that it was submitted, or begun, until it ended.
UNDER_WAY = ("running", "queued", "spawned")
UNDER_WAY_SQL = f"({', '.join(map(repr, UNDER_WAY))})"

# "hpcm": a database with another mark is none of ours. Source: sqlite.org/pragma.html.
APPLICATION_ID = 0x6870636D

# A run with a `cluster` outlives its process; `undone` counts the jobs of it that ended
# otherwise than done. A slice is one act of submitting, by one process; a submission is one
# scheduler job or one array of a slice. An attempt on a cluster has the element of its
# submission, how often the scheduler started it anew, and who told its end.
_CLUSTER = (
    """CREATE TABLE slice (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL,
        process_start INTEGER, boot TEXT NOT NULL, beat_s REAL NOT NULL, state TEXT NOT NULL)""",
    """CREATE TABLE submission (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL, slice INTEGER NOT NULL,
        cluster TEXT NOT NULL, name TEXT NOT NULL UNIQUE, scheduler_id TEXT,
        state TEXT NOT NULL, made_s REAL NOT NULL, elements INTEGER NOT NULL,
        manifest TEXT NOT NULL, first INTEGER NOT NULL, edges TEXT NOT NULL)""",
    "CREATE INDEX slice_run ON slice(run)",
    "CREATE INDEX submission_slice ON submission(slice)",
    """CREATE INDEX attempt_submission ON attempt(submission, element)
        WHERE submission IS NOT NULL""",
)

# A job's `body` is its record as `records.pack` writes it; `crc` covers name, state, failure
# and body; `recorded` is the change counter of the file as it stood when the row was last
# recorded; `claim` is the run that has the job now. `guard` holds the number of rows and the
# sum of their crc, so that a row that was lost or taken over by a flipped bit is noticed:
# SQLite has no checksums. `key` is a crc of the digest: with the digest as the key every
# recipe would touch a page of its own, and a transaction of 100 jobs take twice as long.
# Row 3 of `guard` has, as `rows`, the highest number of an attempt that was removed: numbers
# never come again, since those who follow jobs remember them.
_LAST_ATTEMPT = (
    "INSERT INTO guard VALUES (3, 'attempt', 0, 0)",
    """CREATE TRIGGER attempt_removed AFTER DELETE ON attempt BEGIN
        UPDATE guard SET rows = max(rows, old.id) WHERE id = 3; END""",
)
LAST_ATTEMPT = """SELECT max(ifnull((SELECT max(id) FROM attempt), 0),
    (SELECT rows FROM guard WHERE id = 3))"""

# What jobs say of themselves, as JSON, with the time of their clock at which they said it; and
# what people say of a job, over what the Pipefile says. A part of a job that spawned is a row of
# `job` with an empty rule: `part` says which one of which attempt. A run is `urgent` while a job
# of it that goes ahead of all waits for room. A job is `collected` when its temp outputs were used
# and removed, as long as the attempt that made them is its last.
_SAID = (
    """CREATE TABLE note (
        attempt INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, at_ns INTEGER NOT NULL,
        PRIMARY KEY (attempt, key)) WITHOUT ROWID""",
    """CREATE TABLE setting (
        job INTEGER NOT NULL, key TEXT NOT NULL, value INTEGER NOT NULL,
        PRIMARY KEY (job, key)) WITHOUT ROWID""",
    """CREATE TABLE part (
        job INTEGER PRIMARY KEY, attempt INTEGER NOT NULL, number INTEGER NOT NULL)""",
    "CREATE INDEX part_attempt ON part(attempt)",
    """CREATE TABLE urgent (
        run INTEGER PRIMARY KEY, priority INTEGER NOT NULL, at_s REAL NOT NULL)""",
    """CREATE TABLE collected (job INTEGER PRIMARY KEY, attempt INTEGER NOT NULL)""",
    """CREATE TRIGGER attempt_unsaid AFTER DELETE ON attempt BEGIN
        DELETE FROM note WHERE attempt = old.id;
        DELETE FROM job WHERE id IN (SELECT job FROM part WHERE attempt = old.id); END""",
    # Attempts of parts: a trigger does not call itself, so what follows from their end is here.
    """CREATE TRIGGER job_unset AFTER DELETE ON job BEGIN
        DELETE FROM setting WHERE job = old.id;
        DELETE FROM collected WHERE job = old.id;
        DELETE FROM note WHERE attempt IN (SELECT attempt.id FROM part
            JOIN attempt ON attempt.job = part.job WHERE part.job = old.id);
        UPDATE guard SET rows = max(rows, ifnull((SELECT max(id) FROM attempt), 0)) WHERE id = 3;
        DELETE FROM attempt WHERE job IN (SELECT job FROM part WHERE job = old.id);
        DELETE FROM part WHERE job = old.id; END""",
)

# What tells the cluster that a slice went to from others that may answer to the same name.
_SITES = ("ALTER TABLE slice ADD COLUMN site TEXT NOT NULL DEFAULT ''",)

# Where in `log` what went to stderr begins, in characters; where the log is a file, that is in
# the file beside it. NULL: both are in the log, in the order in which they were printed.
_SPLIT = ("ALTER TABLE attempt ADD COLUMN err_at INTEGER",)

TABLES = (
    """CREATE TABLE run (
        id INTEGER PRIMARY KEY, status TEXT NOT NULL, started_s REAL NOT NULL, ended_s REAL,
        command TEXT NOT NULL, targets TEXT NOT NULL, options TEXT NOT NULL,
        host TEXT NOT NULL, pid INTEGER NOT NULL, process_start INTEGER, boot TEXT NOT NULL,
        beat_s REAL NOT NULL, cluster TEXT, undone INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE job (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rule TEXT NOT NULL,
        wildcards TEXT NOT NULL, state TEXT NOT NULL, failure TEXT NOT NULL,
        claim INTEGER, attempt INTEGER, recorded INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE TABLE attempt (
        id INTEGER PRIMARY KEY, job INTEGER NOT NULL, run INTEGER NOT NULL,
        number INTEGER NOT NULL, state TEXT NOT NULL, failure TEXT, message TEXT NOT NULL,
        started_s REAL, ended_s REAL, cpu_s REAL, peak_mib REAL,
        cores INTEGER, mem_mib INTEGER, time_s INTEGER,
        host TEXT, pid INTEGER, process_start INTEGER, scheduler_id TEXT,
        exit_code INTEGER, signal INTEGER, meta TEXT, log_path TEXT,
        command TEXT NOT NULL, log TEXT,
        submission INTEGER, element INTEGER, restart INTEGER, told TEXT)""",
    "CREATE INDEX attempt_job ON attempt(job)",
    "CREATE INDEX attempt_run ON attempt(run)",
    "CREATE INDEX attempt_open ON attempt(state) WHERE state IN ('running', 'queued')",
    "CREATE INDEX attempt_scheduler ON attempt(scheduler_id) WHERE scheduler_id IS NOT NULL",
    """CREATE TABLE recipe_text (
        id INTEGER PRIMARY KEY, key INTEGER NOT NULL, digest TEXT NOT NULL, text TEXT NOT NULL)""",
    "CREATE INDEX recipe_text_key ON recipe_text(key)",
    """CREATE TABLE output (
        path TEXT PRIMARY KEY, job TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE guard (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, rows INTEGER NOT NULL,
        total INTEGER NOT NULL)""",
    "INSERT INTO guard VALUES (1, 'job', 0, 0), (2, 'output', 0, 0)",
    *_LAST_ATTEMPT,
    """CREATE TRIGGER job_changed AFTER UPDATE OF crc ON job BEGIN
        UPDATE guard SET total = total - old.crc + new.crc WHERE id = 1; END""",
    """CREATE TRIGGER job_removed AFTER DELETE ON job BEGIN
        UPDATE guard SET rows = rows - 1, total = total - old.crc WHERE id = 1; END""",
    """CREATE TRIGGER output_added AFTER INSERT ON output BEGIN
        UPDATE guard SET rows = rows + 1, total = total + new.crc WHERE id = 2; END""",
    """CREATE TRIGGER output_changed AFTER UPDATE OF crc ON output BEGIN
        UPDATE guard SET total = total - old.crc + new.crc WHERE id = 2; END""",
    """CREATE TRIGGER output_removed AFTER DELETE ON output BEGIN
        UPDATE guard SET rows = rows - 1, total = total - old.crc WHERE id = 2; END""",
    *_CLUSTER,
    *_SAID,
    *_SITES,
    *_SPLIT,
)

# Version -> the statements that make the next version of it.
STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        "ALTER TABLE run ADD COLUMN cluster TEXT",
        "ALTER TABLE run ADD COLUMN undone INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE attempt ADD COLUMN submission INTEGER",
        "ALTER TABLE attempt ADD COLUMN element INTEGER",
        "ALTER TABLE attempt ADD COLUMN restart INTEGER",
        "ALTER TABLE attempt ADD COLUMN told TEXT",
        *_CLUSTER,
        *_LAST_ATTEMPT,
    ),
    2: (*_SAID, *_SITES),
    3: _SPLIT,
}


class DamageError(Exception):
    """What the database holds cannot be what hpcmake wrote; the text says how it shows."""


class NewerError(Exception):
    """The database is of a version that only a newer hpcmake knows; the argument is it."""


def version_of(connection: Connection) -> int | None:
    """The version of the schema; None for a database that holds nothing yet.

    Raises: DamageError, NewerError.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if mark != APPLICATION_ID:
        if version or mark or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DamageError("it does not bear the mark of a database of hpcmake")
        return None
    if version > VERSION:
        raise NewerError(version)
    return version


def create(connection: Connection) -> None:
    """Make the tables of the current version; the caller holds a transaction."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    # SQLite compares this number of the file's header for equality only. A random start makes
    # two databases differ in their first 100 bytes, whatever their change counters say.
    cookie = int.from_bytes(os.urandom(4), "little") & 0x3FFFFFFF
    connection.execute(f"PRAGMA schema_version = {cookie + 1000}")


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables from `version` to the current one; the caller holds a transaction.

    Raises: DamageError, if there is no way from this version.
    """
    for step in range(version, VERSION):
        if step not in STEPS:
            raise DamageError(f"version {step} of the state is unknown")
        for statement in STEPS[step]:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {step + 1}")
