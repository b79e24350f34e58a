"""Words of licences: counted on a cluster, put together here, and a page that a Pipefile makes."""

import csv
from collections.abc import Generator
from pathlib import Path

from hamilton.htypes import Collect, Parallelizable

import buildhpc
from buildhpc.hamilton import JobInfo, cmdline, submit

LICENCES = Path("/usr/share/common-licenses")


def licence(most: int) -> Parallelizable[str]:
    """A text; each is counted by a job of its own."""
    yield from sorted(path.name for path in LICENCES.iterdir() if not path.is_symlink())[:most]


@submit("lab", "slurm", cores=1, mem="100M", time="5m")
def counts(licence: str) -> Generator[dict, JobInfo, str]:
    """The file with the counts of a text, made on the cluster."""
    path = f"results/counts/{licence}.tsv"
    yield {
        "name": "count",
        "cmd": f"tr -cs '[:alpha:]' '\\n' < {LICENCES / licence} | tr '[:upper:]' '[:lower:]'"
        f" | sort | uniq -c | awk '{{print $2 \"\\t\" $1}}' > {path}",
        "inputs": LICENCES / licence,
        "outputs": path,
    }
    return path


def all_counts(counts: Collect[str]) -> list[str]:
    """The files of all texts, in order."""
    return sorted(counts)


@submit("here", "local")
def total(all_counts: list[str]) -> Generator[dict, JobInfo, str]:
    """The file with the counts of all texts together, made on this machine."""
    job = yield {
        "cmd": f"cat {' '.join(all_counts)} | awk '{{n[$1] += $2}} END {{for (w in n) print"
        ' w "\\t" n[w]}\' | sort -k2,2nr -k1,1 > results/total.tsv',
        "inputs": all_counts,
        "outputs": "results/total.tsv",
    }
    return job.outputs[0]


@cmdline
def words(total: str) -> Generator[dict, object, int]:
    """How many words there are."""
    done = yield {"cmd": ["wc", "-l", total]}
    return int(done.stdout.split()[0])


def page(total: str, words: int) -> str:
    """A page with the most common words, which a rule of the Pipefile beside this makes."""
    with Path(total).open(newline="") as file:
        first, _ = next(csv.reader(file, delimiter="\t"))
    made = buildhpc.load().run("results/page.md", jobs=2)
    if not made.ok:
        raise RuntimeError(f"no page of {words} words, {first} among them")
    return "results/page.md"
