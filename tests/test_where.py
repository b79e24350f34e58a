"""`--where`: jobs chosen by a condition, which sees what is known of jobs and changes nothing."""

from __future__ import annotations

import resource
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Pipe

from buildhpc.diagnostics import HpcmakeError
from buildhpc.state import records, where
from buildhpc.state.database import State, open_state
from buildhpc.state.queries import Where, jobs
from buildhpc.state.where import COLUMNS, condition

PIPEFILE = """\
rule all:
    input: "out1", "out2", "out12", "b.txt"

rule map:
    output: "out{sample}"
    where: sample = "[0-9]+"
    cores: 1
    mem: 100M
    shell: "echo {sample} | tee {output}; [ {sample} != 12 ]"

rule note:
    output: "{name}.txt"
    shell: "echo {name} > {output}"
"""
ALL = ["map sample=1", "map sample=12", "map sample=2", "note name=b"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> State:
    """A folder where three jobs are done and one failed."""
    pipe = Pipe(tmp_path_factory.mktemp("where"))
    pipe.write("Pipefile", PIPEFILE)
    assert pipe.run("-k", "-q").code == 1
    return open_state(pipe.folder)


def chosen(state: State, text: str) -> list[str]:
    return [job.name for job in jobs(state, Where(condition=condition(state, text)))]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("rule = 'map' and state = 'failed'", [1]),
        ('rule = "map" AND NOT State = "failed"', [0, 2]),
        ("class = 'exit' and exit_code = 1 and message like 'exit code%'", [1]),
        ("sample = 1 or sample = '2'", [0, 2]),
        ("sample + 0 > 1", [1, 2]),
        ("w.sample in (1, 2)", [0, 2]),
        ("w . \"sample\" glob '1*'", [0, 1]),
        ("w.name = 'b'", [3]),
        ("name = 'note name=b'", [3]),
        ("sample is null", [3]),
        ("outputs = 'out1'", [0]),
        ("run is not null and attempt = 1 and cores = 1 and mem_mib = 100", [0, 1, 2]),
        ("ended >= started and started_s <= ended_s and wall_s < 1000 and cpu_s < 1000", ALL),
        ("ended > datetime('now', 'localtime', '-1 hour') and host <> ''", ALL),
        ("cluster is null and scheduler_id is null and submission is null", ALL),
        ("time_s is null and signal is null and peak_mib >= 0", ALL),
        ("rule in (select rule from jobs where sample = 12) -- and more", [0, 1, 2]),
        ("case when rule = 'map' then sample else 0 end = cast(1 as text)", [0]),
        ("1 /* all", None),
        ("'a;b''?' = 'x'", []),
    ],
)
def test_a_condition_chooses_jobs(built: State, text: str, places: list[object] | None) -> None:
    if places is None:
        with pytest.raises(HpcmakeError):
            chosen(built, text)
        return
    expected = [ALL[each] if isinstance(each, int) else each for each in places]
    assert chosen(built, text) == expected


def test_all_columns_that_are_documented_are_there(built: State) -> None:
    listed = Path(__file__).parent.parent / "docs" / "where.md"
    rows = [line for line in listed.read_text().splitlines() if line.startswith("| `")]
    documented = [word.strip(" `") for row in rows for word in row.split("|")[1].split(",")]
    assert sorted(documented) == sorted(COLUMNS)
    everything = " or ".join(f"{name} is not null" for name in COLUMNS)
    assert chosen(built, everything) == ALL


@pytest.mark.parametrize(
    "text",
    [
        "load_extension('x')",
        "randomblob(9) = 1",
        "zeroblob(1000000000) = 1",
        "writefile('x', 'y')",
        "readfile('/etc/passwd') = ''",
        "exists (select log from attempt)",
        "exists (select body from main.job)",
        "exists (select * from sqlite_master)",
        "exists (select * from pragma_database_list)",
        "exists (with recursive c(x) as (select 1 union all select x + 1 from c) select x from c)",
        "1); drop table job; --",
        "1); attach 'other.db' as x; --",
        "1) union select id from main.attempt where (1",
        "1 union select 2",
        "1; pragma writable_schema = 1",
        "?",
        ":name",
        "",
        "  ",
        "1 order by name limit 1",
        "rule =",
        "rule = 'a",
        "\ud800 = 1",
    ],
)
def test_a_condition_cannot_do_more_than_look(built: State, text: str) -> None:
    before = built.generation(), sorted(built.folder.rglob("*"))
    with pytest.raises(HpcmakeError) as raised:
        chosen(built, text)
    assert raised.value.exit_code == 2
    assert raised.value.problems[0].span is not None
    assert (built.generation(), sorted(built.folder.rglob("*"))) == before


@pytest.mark.parametrize(
    ("text", "guilty", "says"),
    [
        ("rul = 'map'", "rul", "`rule`"),
        ("rule = 'map' and smple = 1", "smple", "`sample`"),
        ("w.smple = 1", "smple", "`w.sample`"),
        ("lenght(name) > 3", "lenght", "`length`"),
        ("rule = = 'map'", "=", ""),
        ("rule = 'map' amd state = 'done'", "amd", ""),
        ("(rule = 'map'))", ")", "closes nothing"),
        ("rule = 'map", "'", "has no end"),
    ],
)
def test_a_mistake_is_shown_where_it_is(built: State, text: str, guilty: str, says: str) -> None:
    with pytest.raises(HpcmakeError) as raised:
        chosen(built, text)
    span = raised.value.problems[0].span
    assert span is not None
    assert span.text == guilty
    assert span.start == text.rindex(guilty), "the last one"
    assert says in str(raised.value)


def test_a_condition_may_not_take_long(built: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(where, "LIMIT_S", 0.2)
    many = ", ".join(f"jobs as j{number}" for number in range(20))
    with pytest.raises(HpcmakeError, match="takes longer"):
        chosen(built, f"(select count(*) from {many}) > 1")


def test_every_command_that_means_jobs_takes_a_condition(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    assert pipe.run("-k", "-q").code == 1
    failed = "--where \"state = 'failed'\""
    document = pipe.check(f"status {failed}").out
    assert "\n\nmap sample=12: exit code 1\n\n" in document
    pipe.check(f"logs {failed}", says="12\n")
    pipe.check(f"logs map {failed}", says="12\n")
    pipe.check('logs map --where "sample = 1"', says="1\n")
    assert pipe.check(f"show {failed}").out.startswith("map sample=12\n")
    shown = pipe.check("show --where \"state = 'done'\"").out
    assert [line for line in shown.splitlines() if line[:1].strip()] == [ALL[0], *ALL[2:]]
    made = pipe.check("status --json --where \"target is not null and rule = 'map'\"").out
    named = pipe.check("status --json --where \"outputs is not null and rule = 'map'\"").out
    assert made == named and '"done": 2' in made
    pipe.check(f"retry -n {failed}", says="would retry map sample=12\n")
    pipe.check(f"cancel -n {failed}", says="nothing to cancel: no run has such a job\n")
    pipe.check(f"reset -n {failed}", says="would reset map sample=12\n")
    pipe.check("reset -n map --where \"state = 'done'\"", says="would reset map sample=1\n"
               "would reset map sample=2\n")  # fmt: skip
    pipe.check(f"forget --yes {failed}", says="forgot map sample=12\n1 job forgotten; "
               "from now on the times of their files decide\n")  # fmt: skip
    for command in ("status", "logs", "show", "retry", "cancel", "reset", "forget"):
        result = pipe.check(f"{command} --where 'rul = 1'", code=2)
        assert "error[unknown-column]: jobs have nothing called `rul`\n" in result.err
    pipe.check("forget --run 2 --where 1", code=2)
    for command in ("logs", "show", "reset"):
        assert "error[which-jobs]" in pipe.check(command, code=2).err


def test_a_condition_is_quick_among_many_jobs(pipe: Pipe) -> None:
    state = open_state(pipe.folder)
    with state.transaction():
        pass
    names = [f"map sample=s{number}" for number in range(100_000)]
    crcs = [records.job_crc(name, "done", "", 0) for name in names]
    with closing(sqlite3.connect(state.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO job VALUES (?, ?, 'map', ?, 'done', '', NULL, ?, 0, ?, x'')",
            [
                (number, name, f'{{"sample": "s{number - 1}"}}', number, crc)
                for number, (name, crc) in enumerate(zip(names, crcs, strict=True), 1)
            ],
        )
        connection.executemany(
            "INSERT INTO attempt (id, job, run, number, state, message, started_s, ended_s,"
            " command) VALUES (?, ?, 2, 1, 'done', '', ?, ?, '')",
            [(number, number, number, 2 * number) for number in range(1, 100_001)],
        )
        total = "UPDATE guard SET rows = ?, total = ? WHERE id = 1"
        connection.execute(total, (len(names), sum(crcs)))
    text = "rule = 'map' and state = 'done' and sample like 's9999%' and wall_s > 60"
    best_s = 100.0
    for _ in range(3):
        begun_s = _cpu_s()
        found = pipe.check(f"reset --force -n {shlex.quote('--where=' + text)}").out
        best_s = min(best_s, _cpu_s() - begun_s)
    assert found.count("would reset map sample=s9999") == 11
    assert best_s < 0.8  # measured: 0.2


def _cpu_s() -> float:
    """What processes that were run have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
