"""The mean error of the estimates, by the number of points."""

import math
from collections import defaultdict
from pathlib import Path

errors = defaultdict(list)
for path in map(Path, job.input):
    errors[int(path.parent.name)].append(abs(float(path.read_text()) - math.pi))
rows = [f"{points}\t{sum(each) / len(each):.5f}" for points, each in sorted(errors.items())]
Path(job.output).write_text("\n".join(["points\terror", *rows, ""]))
