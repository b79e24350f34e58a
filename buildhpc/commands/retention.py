"""Which logs are kept: what `[logs]` in `hpcmake.toml` says, done after builds and by `clean`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State


def spent(state: State, older_s: float | None = None) -> list[int]:
    """The attempts whose logs may go, as the settings say; older_s: as this says instead.

    Raises: HpcmakeError.
    """
    from buildhpc.sites import read_sites
    from buildhpc.state.changes import spent_logs

    if older_s is not None:
        return spent_logs(state, state.now_s() - older_s, None)
    policy = read_sites(os.getcwd()).logs()
    if policy.keep_s is None and policy.attempts is None:
        return []
    before_s = None if policy.keep_s is None else state.now_s() - policy.keep_s
    return spent_logs(state, before_s, policy.attempts)


def prune(state: State) -> None:
    """Remove logs that need not be kept; a mistake in the settings is told elsewhere."""
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.state.changes import remove_logs

    try:
        if found := spent(state):
            remove_logs(state, found)
    except HpcmakeError:
        return
