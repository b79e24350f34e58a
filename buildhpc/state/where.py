"""`--where`: a condition on jobs in SQLite's expression language, which can look and never write.

It is asked of a view of its own, on a connection for reading, where it may name the columns of
that view, the wildcards of jobs and functions that do no harm, and all else is refused; and it
may not take long.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from buildhpc.diagnostics import Source, Span
from buildhpc.messages import where as messages
from buildhpc.state import schema
from buildhpc.state.runs import living, state_now

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State

LIMIT_S = 5.0
_STEPS = 10_000
_LONGEST = 10_000_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Name -> what it is, in SQL. Those of attempts are of the last one.
COLUMNS = {
    "name": "job.name",
    "rule": "job.rule",
    "state": "{now}",
    "class": "attempt.failure",
    "message": "CASE job.state WHEN 'skipped' THEN job.failure ELSE attempt.message END",
    "run": "attempt.run",
    "attempt": "attempt.number",
    "cluster": "submission.cluster",
    "host": "attempt.host",
    "scheduler_id": "attempt.scheduler_id",
    "submission": "submission.name",
    "started": "datetime(attempt.started_s, 'unixepoch', 'localtime')",
    "ended": "datetime(attempt.ended_s, 'unixepoch', 'localtime')",
    "started_s": "attempt.started_s",
    "ended_s": "attempt.ended_s",
    "wall_s": "CASE attempt.state WHEN 'running' THEN {now_s} ELSE attempt.ended_s END"
    " - attempt.started_s",
    "cpu_s": "attempt.cpu_s",
    "peak_mib": "attempt.peak_mib",
    "cores": "attempt.cores",
    "mem_mib": "attempt.mem_mib",
    "time_s": "attempt.time_s",
    "exit_code": "attempt.exit_code",
    "signal": "attempt.signal",
    "phase": "(SELECT json_extract(value, '$') FROM main.note AS note"
    " WHERE note.attempt = attempt.id AND key = 'phase')",
    "progress": "(SELECT json_extract(value, '$') FROM main.note AS note"
    " WHERE note.attempt = attempt.id AND key = 'progress')",
    # As `priorities.Said` has it.
    "priority": "coalesce((SELECT value FROM main.setting AS setting"
    " WHERE setting.job = job.id AND key = 'priority'), (SELECT value FROM main.setting AS setting"
    " WHERE setting.job = job.id AND key = 'planned'), 0)"
    " + coalesce((SELECT value FROM main.setting AS setting"
    " WHERE setting.job = job.id AND key = 'boost'), 0)",
    "outputs": "made.paths",
    "target": "made.first",
}
# What a job says of itself, under any other name.
_SAID = """(SELECT json_extract(value, '$') FROM main.note AS note
    WHERE note.attempt = attempt.id AND key = '{}')"""
_VIEW = """CREATE TEMP VIEW jobs AS SELECT job.id AS id, {columns}
    FROM main.job AS job LEFT JOIN main.attempt AS attempt ON attempt.id = job.attempt
    LEFT JOIN main.submission AS submission ON submission.id = attempt.submission{made}
    WHERE job.rule != ''"""
_MADE = """
    LEFT JOIN (SELECT job, group_concat(path, char(10)) AS paths, min(path) AS first
    FROM main.output GROUP BY job)
    AS made ON made.job = job.name"""

_OF_OUTPUTS = ("outputs", "target")

_TABLES = frozenset({"job", "attempt", "submission", "output", "note", "setting", "collected"})
_FUNCTIONS = _words(
    """
    abs avg char coalesce count date datetime format glob group_concat hex ifnull iif instr
    json_extract julianday length like lower ltrim max min nullif printf quote replace round
    rtrim sign strftime substr substring sum time total trim typeof unicode unixepoch upper
    """
)
_KEYWORDS = _words(
    """
    all and as asc between by case cast collate cross current_date current_time
    current_timestamp desc distinct else end escape except exists false filter from glob group
    having in indexed inner intersect is isnull join left like limit match materialized natural
    not notnull null nulls offset on or order outer over partition raise recursive regexp right
    select then true union using values when where window with
    """
)

_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
    |(?P<text>[xX]?'(?:[^']|'')*')
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<word>[^\W\d]\w*)
    |(?P<number>\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)
    |(?P<sign>\|\||<<|>>|<=|>=|<>|==|!=|->>|->|.)""",
    re.VERBOSE | re.DOTALL,
)
_NEVER = frozenset(";?:@$#'\"`[]{}!\\")


class _Token(NamedTuple):
    kind: str
    text: str
    span: Span

    @property
    def name(self) -> str:
        """What it names, where it is a name."""
        return self.text[1:-1] if self.kind == "quoted" else self.text

    def is_name(self) -> bool:
        """Whether it may name a column."""
        return self.kind == "quoted" or (self.kind == "word" and self.text.lower() not in _KEYWORDS)


class Condition(NamedTuple):
    """A condition that can be asked. sql: the same for the view `jobs`.

    wildcards: those that it names, in the order of their columns. outputs: it asks for these.
    said: what jobs say of themselves, in the order of its columns.
    """

    span: Span
    sql: str
    wildcards: tuple[str, ...]
    outputs: bool
    said: tuple[str, ...] = ()

    def choose(self, connection: Connection, now_s: float) -> str:
        """A condition on the table `job`, for queries on this connection, that says the same.

        Raises: messages.where_slow, where_fails.
        """
        ids = self._ids(connection, now_s)
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("CREATE TEMP TABLE chosen (id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO chosen VALUES (?)", ids)
        return "job.id IN (SELECT id FROM chosen)"

    def _ids(self, connection: Connection, now_s: float) -> list[tuple[int]]:
        import sqlite3

        self._view(connection, now_s)
        late = time.monotonic() + LIMIT_S
        with _guarded(connection, lambda: time.monotonic() > late):
            try:
                return connection.execute(self._select()).fetchall()
            except sqlite3.Error as error:
                if error.sqlite_errorname == "SQLITE_INTERRUPT":
                    raise messages.where_slow(LIMIT_S, self.span) from None
                if error.sqlite_errorname in ("SQLITE_ERROR", "SQLITE_TOOBIG"):
                    raise messages.where_fails(str(error), self.span) from None
                raise

    def compile(self) -> None:
        """Find out whether SQLite understands it. Raises: sqlite3.Error."""
        with closing(_empty()) as connection:
            self._view(connection, 0.0)
            with _guarded(connection, lambda: False):
                connection.execute(f"EXPLAIN {self._select()}")

    def _select(self) -> str:
        # The end of the line ends a comment.
        return f"SELECT id FROM jobs WHERE ({self.sql}\n)"

    def _view(self, connection: Connection, now_s: float) -> None:
        values = {"now": state_now(living(connection, now_s)), "now_s": repr(now_s)}
        columns = {
            name: text.format(**values)
            for name, text in COLUMNS.items()
            if self.outputs or name not in _OF_OUTPUTS
        }
        for number, name in enumerate(self.wildcards):
            # As a text it equals a number that is written the same.
            columns[f"w.{number}"] = f"CAST(json_extract(job.wildcards, '$.\"{name}\"') AS TEXT)"
        for number, name in enumerate(self.said):
            columns[f"meta.{number}"] = _SAID.format(name)
        listed = ", ".join(f'{text} AS "{name}"' for name, text in columns.items())
        connection.execute(_VIEW.format(columns=listed, made=_MADE if self.outputs else ""))


def condition(state: State, text: str) -> Condition:
    """What `--where` says. Raises: HpcmakeError where it is none."""
    return _Reader(state, text).condition()


def _empty() -> Connection:
    """A database with the tables of the state, and nothing in them."""
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(connection)
    return connection


@contextmanager
def _guarded(connection: Connection, late: Callable[[], bool]) -> Iterator[None]:
    """Let statements of this connection read the view `jobs`, and do nothing else."""
    import sqlite3

    def may(action: int, one: str | None, two: str | None, _: str | None, by: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            # Without a column only the number of rows is asked for, as the view itself does.
            fine = by == "jobs" or one == "jobs" or (one in _TABLES and not two)
        elif action == sqlite3.SQLITE_FUNCTION:
            fine = (two or "").lower() in _FUNCTIONS
        else:
            fine = action == sqlite3.SQLITE_SELECT
        return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY

    longest = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    connection.set_authorizer(may)
    connection.set_progress_handler(late, _STEPS)
    try:
        yield
    finally:
        connection.set_authorizer(None)
        connection.set_progress_handler(None, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)


class _Reader:
    """Reads one condition."""

    def __init__(self, state: State, text: str) -> None:
        self._state = state
        self._source = Source("--where", text)
        self._tokens: list[_Token] = []
        self._pieces: list[str] = []
        self._wildcards: list[str] = []
        self._said: list[str] = []

    def condition(self) -> Condition:
        """The condition. Raises: HpcmakeError."""
        import sqlite3

        self._read()
        self._bind()
        names = {token.name.lower() for token in self._tokens}
        whole = Span(self._source, 0, len(self._source.text))
        found = Condition(
            *(
                whole,
                "".join(self._pieces),
                tuple(self._wildcards),
                not names.isdisjoint(_OF_OUTPUTS),
            ),
            said=tuple(self._said),
        )
        try:
            found.compile()
        except sqlite3.Error as error:
            self._explain(str(error))
        return found

    def _read(self) -> None:
        """Raises: messages.where_syntax."""
        text = self._source.text
        depth = 0
        for match in _TOKEN.finditer(text):
            token = _Token(match.lastgroup or "", match[0], self._span(*match.span()))
            if not text.isprintable() and any("\ud800" <= char <= "\udfff" for char in match[0]):
                raise messages.where_syntax("this is not UTF-8", token.span)
            if token.kind == "sign" and token.text in _NEVER:
                what = "has no end" if token.text in "'\"`[" else "means nothing here"
                raise messages.where_syntax(f"`{token.text}` {what}", token.span)
            depth += (token.text == "(") - (token.text == ")")
            if depth < 0:
                raise messages.where_syntax("`)` closes nothing", token.span)
            self._tokens.append(token)
        if not any(token.kind != "blank" for token in self._tokens):
            raise messages.where_syntax("nothing is said", self._span(0, len(text)))

    def _span(self, start: int, end: int) -> Span:
        return Span(self._source, start, end)

    def _bind(self) -> None:
        """Put columns in the places of wildcards. Raises: messages.unknown_wildcard."""
        self._pieces = [token.text for token in self._tokens]
        said = [place for place, token in enumerate(self._tokens) if token.kind != "blank"]
        words = ["", *(self._tokens[place].text.lower() for place in said), "", ""]
        for at, place in enumerate(said):
            token = self._tokens[place]
            before, after = words[at], words[at + 2]
            if not token.is_name() or before in (".", "as", "collate") or after == "(":
                continue
            if token.text.lower() in ("w", "meta") and after == "." and at + 2 < len(said):
                self._named(said[at : at + 3])
            elif after != "." and token.kind == "word" and token.name.lower() not in COLUMNS:
                self._plain(place)

    def _named(self, places: Sequence[int]) -> None:
        """`w.NAME`, `meta.NAME`"""
        token = self._tokens[places[2]]
        if token.kind not in ("word", "quoted"):
            return  # SQLite tells
        column = self._column
        if self._tokens[places[0]].text.lower() == "meta":
            column = self._note
        elif not self._known(token.name):
            raise messages.unknown_wildcard(token.name, self._names(), token.span)
        for place in range(places[0], places[2]):
            self._pieces[place] = ""
        self._pieces[places[2]] = column(token.name)

    def _note(self, name: str) -> str:
        """The column of what jobs say of themselves. Raises: messages.unknown_note."""
        query = "SELECT DISTINCT key FROM note"
        known = self._state.read(lambda each: [row[0] for row in each.execute(query)])
        if name not in known:
            span = next(token.span for token in self._tokens if token.name == name)
            raise messages.unknown_note(name, known, span)
        if name not in self._said:
            self._said.append(name)
        return f'"meta.{self._said.index(name)}"'

    def _plain(self, place: int) -> None:
        name = self._tokens[place].name
        if self._known(name):
            self._pieces[place] = self._column(name)

    def _column(self, name: str) -> str:
        if name not in self._wildcards:
            self._wildcards.append(name)
        return f'"w.{self._wildcards.index(name)}"'

    def _known(self, name: str) -> bool:
        """Whether a job has a wildcard of this name."""
        if not name.isidentifier():
            return False
        query = "SELECT 1 FROM job WHERE json_type(wildcards, ?) IS NOT NULL LIMIT 1"
        path = f'$."{name}"'
        return self._state.read(lambda each: each.execute(query, (path,)).fetchone() is not None)

    def _names(self) -> list[str]:
        """The names of all wildcards."""
        query = "SELECT DISTINCT key FROM job, json_each(job.wildcards)"
        return self._state.read(lambda each: [row[0] for row in each.execute(query)])

    def _explain(self, words: str) -> NoReturn:
        """Say what SQLite does not understand. Raises: HpcmakeError."""
        what, _, name = words.partition(": ")
        if what == "no such column":
            name = name.rpartition(".")[2]
            known = [*COLUMNS, *(f"w.{each}" for each in self._names()), *self._names()]
            raise messages.unknown_column(name, known, self._where_is(name))
        if what in ("no such function", "not authorized to use function"):
            raise messages.unknown_function(name, _FUNCTIONS, self._where_is(name))
        if function := re.search(r"function (\w+)\(\)", words):
            raise messages.where_syntax(words, self._where_is(function[1]))
        if words.startswith(("near ", "unrecognized token", "incomplete input")):
            raise messages.where_syntax("", self._guilty())
        if "prohibited" in words or "not authorized" in words or "no such table" in words:
            raise messages.where_looks_elsewhere(self._span(0, len(self._source.text)))
        raise messages.where_syntax(words, self._span(0, len(self._source.text)))

    def _where_is(self, name: str) -> Span:
        for token in self._tokens:
            if token.kind != "text" and token.name.lower() == name.lower():
                return token.span
        return self._span(0, len(self._source.text))

    def _guilty(self) -> Span:
        """The first token that nothing right can begin with, after those before it."""
        import sqlite3

        begun = "SELECT 1 WHERE ("
        with closing(sqlite3.connect(":memory:")) as connection:
            for token, piece in zip(self._tokens, self._pieces, strict=True):
                begun += piece
                try:
                    connection.execute(f"EXPLAIN {begun}")
                except sqlite3.Error as error:
                    if str(error).startswith(("near ", "unrecognized token")):
                        return token.span
        end = len(self._source.text)
        return self._span(end, end + 1)
