"""The script `submit` of an export: bash that submits jobs in order, by ids as they come."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence

from buildhpc.schedulers.protocol import Ask, Edge, Scheduler

_ID = re.compile(r"@ID_(\d+|ALL)@")

_HEAD = """\
#!/bin/bash
# Submits {count} to the scheduler, in order. Nothing runs before all of it was accepted:
# what waits for nothing is held until the end. If one is refused, those before it are cancelled.
set -u
cd -- "$(dirname -- "${{BASH_SOURCE[0]}}")" || exit 1
ids=()

give_up() {{
    echo "submit: $1" >&2
    if ((${{#ids[@]}})); then
        echo "submit: cancelling what was submitted" >&2
{cancel}
    fi
    exit 1
}}

# submit NUMBER COMMAND...: sets ID_NUMBER to the id that the scheduler gives.
submit() {{
    local number=$1 answer
    shift
    answer=$("$@") || give_up "refused: $* $answer"
    answer=${{answer##*$'\\n'}}
    answer=${{answer%%;*}} # Slurm: ID;CLUSTER
    # Grid Engine: ID.FIRST-LAST:STEP
    if [[ $answer =~ ^[0-9]+\\.[0-9]+-[0-9]+:[0-9]+$ ]]; then answer=${{answer%%.*}}; fi
    if [[ ! $answer =~ ^([0-9]+(\\[\\])?(\\.[A-Za-z0-9_.-]+)?|[a-z0-9]+-[0-9]+)$ ]]; then
        give_up "an answer without an id: $answer"
    fi
    printf -v "ID_$number" %s "$answer"
    ids+=("$answer")
    echo "$answer"
}}
"""

# For schedulers that want ids in the job script itself.
_FILL = """
filled=$(mktemp -d) || exit 1
trap 'rm -rf -- "$filled"' EXIT

# fill SCRIPT: prints the path of a copy with the ids in their places.
fill() {
    local text number
    text=$(<"$1") || return 1
    for number in "${!ids[@]}"; do text=${text//@ID_$number@/${ids[number]}}; done
    printf '%s\\n' "$text" >"$filled/$1" || return 1
    echo "$filled/$1"
}
"""


def submit_script(adapter: Scheduler, submissions: Sequence[tuple[Ask, str]]) -> str:
    """The text of `submit`.

    submissions: what is asked for, and the path of its job script, relative to the folder of
    `submit`; in an order in which each comes after what it waits for. The `id` of an edge is the
    name of another one, or with `:NUMBER` after it one element of that, where the scheduler
    can wait for that. Raises: KeyError for an edge to what does not come before it
    """
    real = _in_order(adapter, [ask for ask, _ in submissions])
    lines = []
    filled = False
    for number, (ask, (_, path)) in enumerate(zip(real, submissions, strict=True)):
        # A path of its own folder, so that it is never taken for an option or looked for on PATH.
        command = _words(adapter.submit(ask, f"./{path}"))
        if _ID.search(adapter.script(ask)):
            filled = True
            name = shlex.quote(f"./{path}")
            command = command.replace(name, f'"$(fill {shlex.quote(path)})"')
        lines.append(f"submit {number} {command}")
    roots = [f"@ID_{number}@" for number, ask in enumerate(real) if ask.held]
    cancel = [f"        {_words(words)}" for words in adapter.cancel(["@ID_ALL@"])]
    release = [f"{_words(words)} || exit 1" for words in adapter.release(roots)]
    many = "1 job" if len(lines) == 1 else f"{len(lines)} jobs and arrays"
    head = _HEAD.format(count=many, cancel="\n".join(cancel))
    return "\n".join([head + (_FILL if filled else ""), *lines, "", *release, ""])


def job_scripts(adapter: Scheduler, asks: Sequence[Ask]) -> list[str]:
    """The texts of the job scripts that `submit_script` submits, in the same order.

    Where a scheduler wants ids in them, `submit` puts these in. Raises: as `submit_script`
    """
    return [adapter.script(ask) for ask in _in_order(adapter, asks)]


def _in_order(adapter: Scheduler, asks: Sequence[Ask]) -> list[Ask]:
    """The same with places of ids in their edges; those without any are held."""
    numbers: dict[str, int] = {}
    found = []
    for number, ask in enumerate(asks):
        edges = tuple(_numbered(adapter, edge, numbers) for edge in ask.after)
        found.append(dataclasses.replace(ask, after=edges, held=not edges))
        numbers[ask.name] = number
    return found


def _numbered(adapter: Scheduler, edge: Edge, numbers: dict[str, int]) -> Edge:
    name, _, element = edge.id.partition(":")
    known = f"@ID_{numbers[name]}@"
    return Edge(adapter.element_id(known, int(element)) if element else known, edge.kind)


def _words(words: Sequence[str]) -> str:
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    """A word for bash, with variables in the places of ids."""
    parts = _ID.split(word)
    text = shlex.quote(parts[0]) if parts[0] or len(parts) == 1 else ""
    for number, after in zip(parts[1::2], parts[2::2], strict=True):
        text += '"${ids[@]}"' if number == "ALL" else f'"$ID_{number}"'
        text += shlex.quote(after) if after else ""
    return text
