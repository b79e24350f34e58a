"""A state of an older version becomes one of this version, and keeps all it knew."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from zlib import crc32

import pytest

from buildhpc.diagnostics import HpcmakeError, render
from buildhpc.plan.stamps import Record, Stamp
from buildhpc.run.spec import JobSpec, Outcome, OutputFile, Recipe
from buildhpc.state import queries, schema
from buildhpc.state.claims import JobToClaim
from buildhpc.state.database import open_state, read_state
from buildhpc.state.recorder import Recorder, RunInfo
from buildhpc.state.records import job_crc, output_crc, pack

# As version 1 had them.
VERSION_1 = (
    """CREATE TABLE run (
        id INTEGER PRIMARY KEY, status TEXT NOT NULL, started_s REAL NOT NULL, ended_s REAL,
        command TEXT NOT NULL, targets TEXT NOT NULL, options TEXT NOT NULL,
        host TEXT NOT NULL, pid INTEGER NOT NULL, process_start INTEGER, boot TEXT NOT NULL,
        beat_s REAL NOT NULL)""",
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
        command TEXT NOT NULL, log TEXT)""",
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
)

RECORD = Record("done", "", "d1", ("in",), (Stamp(5, 6),), ("out",), (Stamp(7, 8),), {})


def first_version(folder: Path) -> Path:
    """A database of version 1 in which a run made one file."""
    path = folder / ".hpcmake" / "state.db"
    path.parent.mkdir()
    body = pack(RECORD)
    crc = job_crc("copy", "done", "", crc32(body))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in VERSION_1:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO run VALUES (2, 'done', 1.0, 2.0, 'hpcmake', '[]', '{}', 'h', 1, 1, 'b', 2)"
        )
        connection.execute(
            "INSERT INTO job VALUES (1, 'copy', 'copy', '{}', 'done', '', NULL, 1, 0, ?, ?)",
            (crc, body),
        )
        connection.execute("UPDATE guard SET rows = 1, total = ? WHERE id = 1", (crc,))
        made = output_crc(b"out", "copy")
        connection.execute("INSERT INTO output VALUES ('out', 'copy', ?)", (made,))
        connection.execute(
            "INSERT INTO attempt VALUES (1, 1, 2, 1, 'done', NULL, '', 1.0, 2.0, 0.5, 3.0, 1, NULL,"
            " NULL, 'h', NULL, NULL, NULL, 0, NULL, NULL, NULL, 'cp in out', 'said')"
        )
        connection.execute("INSERT INTO recipe_text VALUES (1, 1, 'd0', 'old')")
    return path


def columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Table -> its columns, as SQLite tells of them; indexes and triggers by name alone."""
    with closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name, type FROM sqlite_master ORDER BY name").fetchall()
        return {
            f"{kind} {name}": connection.execute(f"PRAGMA table_info({name})").fetchall()
            for name, kind in names
        }


def test_a_state_of_version_1_keeps_what_it_knew(tmp_path: Path) -> None:
    path = first_version(tmp_path)
    before = path.read_bytes()
    state = read_state(tmp_path)
    assert state is not None
    assert dict(state.records()) == {"copy": RECORD}
    assert [run.status for run in queries.runs(state)] == ["done"]
    assert path.read_bytes() == before, "looking wrote"
    recorder = Recorder(open_state(tmp_path), RunInfo("hpcmake"))
    recorder.claim([JobToClaim("other", "other", {})])
    recipe = Recipe("shell", "cp out more")
    spec = JobSpec("other", "other", 1, ("out",), (OutputFile("more"),), recipe)
    recorder.started(spec)
    other = Record("done", "", "d2", ("out",), (Stamp(7, 8),), ("more",), (Stamp(9, 8),), {})
    recorder.ended(spec, Outcome("done", started_s=3.0, ended_s=4.0), other, "text")
    recorder.end("done")
    state = read_state(tmp_path)
    assert state is not None
    assert dict(state.records()) == {"copy": RECORD, "other": other}
    assert state.maker(["out", "more"]) == {"out": "copy", "more": "other"}
    assert [each.command for each in queries.attempts(state, "copy")] == ["cp in out"]
    assert queries.log_text(state, 1) == "said"


def test_a_state_that_was_brought_up_to_date_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    path = first_version(old)
    for folder in (old, new):
        with open_state(folder).transaction():
            pass
    assert columns(path) == columns(new / ".hpcmake" / "state.db")


def test_an_hpcmake_of_version_1_refuses_this_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_state(tmp_path).transaction():
        pass
    monkeypatch.setattr(schema, "VERSION", 1)
    monkeypatch.setattr("buildhpc.state.refusals.VERSION", 1)
    state = read_state(tmp_path)
    assert state is not None
    with pytest.raises(HpcmakeError) as error:
        state.records()
    assert "it is of version 4, this hpcmake knows version 1" in render(error.value.problems[0])
