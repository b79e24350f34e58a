"""Whether a job that is about to start is needed, now that what it waited for is done."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

from collections.abc import Collection, Mapping

from buildhpc import disk
from buildhpc.plan.stamps import SMALL, Stamp, same_stamp
from buildhpc.run.manifest import Need, Planned
from buildhpc.state import for_runner, receipts
from buildhpc.state.receipts import Ended, Facts


def still_fresh(
    home: str, run: int, job: Planned, here: Mapping[str, str]
) -> Mapping[str, Facts] | None:
    """What the outputs of a job are, where it need not run; None: it has to.

    here: job of this element -> how it ended. Raises: as `for_runner.look`.
    """
    was = job.unless
    if was is None:
        return None
    needs = [need for need in job.needs if need.job in was.get("waits", {need.job})]
    if not was["by_content"] and _any_ran(home, run, needs, here):
        return None
    outputs: dict[str, Facts] = {}
    for path, then in was["outputs"].items():
        now = disk.look(path)
        if now != (Stamp(*then) if then else None):
            return None
        if now is not None:
            outputs[path] = now
    hashes = was["hashes"]
    for path, stamps in was["inputs"].items():
        if not _same(path, stamps, hashes.get(path), by_content=path in job.content):
            return None
    return outputs


def _same(
    path: str, stamps: Collection[Collection[int]], known: str | None, *, by_content: bool
) -> bool:
    """Whether an input is what it was."""
    now = disk.look(path)
    if now is None:
        return False
    if any(same_stamp(Stamp(*then), now) for then in stamps):
        return known is None or now.size > SMALL or disk.digest(path) == known
    return by_content and known is not None and disk.digest(path) == known


def _any_ran(home: str, run: int, needs: Collection[Need], here: Mapping[str, str]) -> bool:
    """Whether a job that this one needs has run since the plan was made."""
    if any(here.get(need.job) == "done" for need in needs):
        return True
    inbox = f"{home}/inbox"
    # The inbox first: who folds it commits to the state, and only then removes the receipt.
    for key, kind in receipts.names(inbox, tuple(f"{run}.{need.number}." for need in needs)):
        if kind == "ended":
            try:
                receipt = receipts.read(inbox, key, kind)
            except (FileNotFoundError, receipts.BadReceiptError):
                continue
            if isinstance(receipt, Ended) and receipt.outcome.state == "done":
                return True
    return for_runner.any_ran(home, run, [need.job for need in needs])
