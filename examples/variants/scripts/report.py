"""How well the reads of each sample mapped, and how its variants differ, as Markdown."""

from collections import Counter
from pathlib import Path

PURINES, PYRIMIDINES = {"A", "G"}, {"C", "T"}


def rows(path: str) -> list[list[str]]:
    """The cells of a file with tabs."""
    return [line.split("\t") for line in Path(path).read_text().splitlines()]


def kind(ref: str, alt: str) -> str:
    """What sort of change it is."""
    if len(ref) != len(alt):
        return "insertion" if len(alt) > len(ref) else "deletion"
    return "transition" if {ref, alt} in (PURINES, PYRIMIDINES) else "transversion"


def mapping(path: str) -> tuple[int, int]:
    """How many reads there are, and how many of them mapped."""
    counts = {name: value for value, _, name in rows(path)}
    return int(counts["primary"]), int(counts["primary mapped"])


def table(head: list[str], body: list[list[object]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


samples = job.params.samples
_, *variants = rows(job.input.variants)
found = {sample: Counter() for sample in samples}
shared = 0
for _, ref, alts, _, _, *genotypes in variants:
    shared += all(genotype not in ("0", ".") for genotype in genotypes)
    for sample, genotype in zip(samples, genotypes, strict=True):
        if genotype not in ("0", "."):
            found[sample][kind(ref, alts.split(",")[int(genotype) - 1])] += 1

reads = []
for sample, mapped, depth in zip(samples, job.input.mapped, job.input.depth, strict=True):
    total, placed = mapping(mapped)
    coverage = dict(zip(*rows(depth), strict=True))
    share, times = f"{placed / total:.1%}", f"{float(coverage['meandepth']):.1f}"
    reads.append([sample, total, share, f"{float(coverage['coverage']):.1f}%", times])

kinds = ["transition", "transversion", "insertion", "deletion"]
changes = [[s, *(found[s][k] for k in kinds), sum(found[s].values())] for s in samples]

report = [
    "# Variants of the phage lambda",
    "",
    *table(["sample", "reads", "mapped", "genome covered", "mean depth"], reads),
    "",
    f"{len(variants)} variants of quality {job.params.min_quality} or more, with at least "
    f"{job.params.min_depth} reads; {shared} of them in every sample.",
    "",
    *table(["sample", *(f"{k}s" for k in kinds), "all"], changes),
]
Path(job.output).write_text("\n".join(report) + "\n")
