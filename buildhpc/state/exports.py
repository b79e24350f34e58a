"""Jobs that people submit by hand: recorded, so that what their runners tell can be taken in.

Nobody has such a job before it begins: a build may run it as any other, and then its script does
nothing. From its start to its end it belongs to the run of its export, and others wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.state import claims
from buildhpc.state.claims import JobToClaim
from buildhpc.state.priorities import plan_priorities
from buildhpc.state.rows import write_texts
from buildhpc.state.runs import begin
from buildhpc.state.snapshot import change_counter
from buildhpc.state.submissions import Slice, ToSubmit, write_slice

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.recorder import RunInfo


class Exported(NamedTuple):
    """What was recorded; with `foreign` jobs nothing was. foreign: job -> the run that has it."""

    run: int
    slice: Slice | None
    foreign: Mapping[str, int]


def record_export(
    state: State,
    info: RunInfo,
    jobs: Sequence[JobToClaim],
    arrays: Sequence[ToSubmit],
    made: tuple[str, Mapping[str, str]],
) -> Exported:
    """Record jobs that people will submit.

    made: the path of the manifest, and digest -> compared text of the recipes.
    """
    with state.transaction() as connection:
        now_s = state.now_s()
        recorded = change_counter(state.found)
        claims.bury(connection, now_s, None, recorded)
        found = claims.sort_out(connection, None, jobs, None)
        assert found is not None
        if found.foreign:
            return Exported(0, None, found.foreign)
        run = begin(connection, info, now_s, arrays[0].cluster)
        rows = claims.mark(connection, None, found)
        ids = {name: held.id for name, held in rows.items()}
        plan_priorities(connection, ids, found.priorities)
        opened, _ = write_slice(connection, run, arrays, ids, (made[0], now_s, ""))
        for statement in (
            "UPDATE run SET status = 'exported', ended_s = beat_s WHERE id = ?",
            "UPDATE slice SET state = 'done' WHERE run = ?",
            "UPDATE submission SET state = 'exported' WHERE run = ?",
            "UPDATE attempt SET state = 'exported', log_path = NULL WHERE run = ?",
        ):
            connection.execute(statement, (run,))
        write_texts(connection, made[1])
    return Exported(run, opened, {})
