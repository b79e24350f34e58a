"""The job script that a cluster would get for a job, if it was submitted by itself."""

from __future__ import annotations

import argparse

from buildhpc.commands.cluster_plan import alias_of, attempt
from buildhpc.commands.lookup import Finder
from buildhpc.commands.sketching import clusters_for, here
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import call
from buildhpc.messages import clusters as messages
from buildhpc.plan.model import Job
from buildhpc.run.asks import Files, ask_of
from buildhpc.run.describe import Describer
from buildhpc.run.slices import Draft
from buildhpc.schedulers.protocol import Request
from buildhpc.state.overview import submitted
from buildhpc.state.submissions import Submission, label


def job_script(args: argparse.Namespace, finder: Finder, job: Job) -> str:
    """The script of the job, as its Pipefile has it now. Raises: HpcmakeError."""
    describer = Describer(finder.project.pipeline, "show", lambda _: "LIST-OF-INPUTS")
    last = submitted(finder.state, job.name) if finder.state else None
    alias = args.cluster or (last and last.cluster) or alias_of(describer, job)
    if not alias:
        raise call.which_cluster(job.name)
    site = clusters_for(alias, args.cluster_option).site(alias)
    try:
        asked = attempt(describer, job, 1, site)["request"]
    except HpcmakeError as error:
        if all(problem.slug == "missing-file" for problem in error.problems):
            raise messages.known_too_late(job.name, job.rule.span) from error
        raise
    request = Request(**{**asked, "options": tuple(asked["options"])})
    draft = Draft(alias, job.rule.task, request, ((0,),), ())
    made = Submission(0, last.name if last else label(job.rule.task), 0)
    slice_ = here(".hpcmake", "run-N", "slice-S")
    files = Files(here(), f"{slice_}.jsonl", f"{slice_}.out")
    return site.scheduler.script(ask_of(site, draft, made, (), files))
