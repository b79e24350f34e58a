"""What describes the jobs that will run, with what `hpcmake.toml` says of their logs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from buildhpc.run.describe import Describer
from buildhpc.sites import read_sites

if TYPE_CHECKING:
    from buildhpc.rules.model import Pipeline


def spec_maker(
    pipeline: Pipeline, marker: str, list_file: Callable[[Sequence[str]], str]
) -> Describer:
    """The describer of a run, an export, a plan; see `Describer`. Raises: HpcmakeError."""
    split = read_sites(os.getcwd()).logs().split
    return Describer(pipeline, marker, list_file, split=split)
