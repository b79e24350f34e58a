"""Files that list paths, a line each: what `{input:file}` stands for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from buildhpc.messages import run as messages


def list_file(folder: Path, paths: Sequence[str]) -> str:
    """The path of a file in `folder` that lists paths; the same ones have one file.

    Raises: messages.unwritable_list
    """
    text = "".join(f"{path}\n" for path in paths)
    name = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
    path = folder / f"inputs-{name}.txt"
    if not path.exists():
        # A list that broke off must not be there for the next job with the same inputs.
        private = path.with_suffix(".new")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            private.write_text(text, errors="surrogateescape")
            private.rename(path)
        except OSError as error:
            private.unlink(missing_ok=True)
            raise messages.unwritable_list(str(path), str(error.strerror)) from error
    return str(path)
