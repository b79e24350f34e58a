"""The blocks of `on start:`, `on success:` and `on failure:`, run where the build was started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from buildhpc.diagnostics import render
from buildhpc.messages import plan as messages
from buildhpc.plan.recipe import fill
from buildhpc.rules.model import Pipeline


def run_handlers(pipeline: Pipeline, event: str, facts: Mapping[str, Any]) -> None:
    """Run the blocks for `event`; one that fails is told, and changes nothing else.

    facts: `run`, `log`, `failed`.
    """
    for handler in pipeline.handlers:
        if handler.event != event:
            continue
        text = fill(handler.parts, facts, pipeline.constants)
        sys.stdout.flush()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            print(render(messages.handler_failed(event, done.returncode)), file=sys.stderr)
