"""The job that this process belongs to, as the files of the job itself tell."""

# Paths are text here: `hpcmake set` in a job is to be quick.

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from buildhpc.messages import inside as messages


class Own(NamedTuple):
    """A job from inside it.

    home: the folder of the state, absolute. path: of the document that `document` is read from.
    """

    home: str
    run: int
    job: str
    attempt: int
    path: str
    document: Mapping[str, Any]

    @property
    def inbox(self) -> str:
        """The folder where what it tells of itself goes."""
        return os.path.join(self.home, "inbox")


def own_job(environ: Mapping[str, str]) -> Own | None:
    """The job around this process; None: there is none. Raises: messages.no_document."""
    path = environ.get("HPCMAKE_JOB")
    if not path:
        return None
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        own = document["self"]
        name, attempt = document["name"], document["attempt"]
        return Own(own["home"], own["run"], name, attempt, path, document)
    except OSError as error:
        raise messages.no_document(path, (error.strerror or str(error)).lower()) from error
    except (ValueError, KeyError, TypeError) as error:
        raise messages.no_document(path, "it is none that this hpcmake wrote") from error
