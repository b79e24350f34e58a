"""The words most common in all texts: a row a word, a column a text, shares in per mille."""

from pathlib import Path

texts = {}
for path in job.input:
    lines = Path(path).read_text().splitlines()
    texts[Path(path).stem] = {word: int(count) for word, count in map(str.split, lines)}

totals = {name: sum(counts.values()) for name, counts in texts.items()}


def share(word: str, name: str) -> float:
    """How many of a thousand words of a text are this one."""
    return 1000 * texts[name].get(word, 0) / totals[name]


def mean_share(word: str) -> float:
    """The mean over the texts, so that a long text counts no more than a short one."""
    return sum(share(word, name) for name in texts) / len(texts)


words = sorted({word for counts in texts.values() for word in counts})
words.sort(key=mean_share, reverse=True)

with open(job.output, "w") as table:
    print("word", "mean", *texts, sep="\t", file=table)
    for word in words[: job.params.words]:
        shares = [f"{share(word, name):.1f}" for name in texts]
        print(word, f"{mean_share(word):.1f}", *shares, sep="\t", file=table)
