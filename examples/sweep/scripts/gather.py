"""The results of all runs as a table, the best first."""

import csv
import json
from pathlib import Path

rows = [json.loads(Path(path).read_text()) for path in job.input]
rows.sort(key=lambda row: row["accuracy"], reverse=True)

with open(job.output, "w", newline="") as file:
    table = csv.writer(file, delimiter="\t", lineterminator="\n")
    table.writerow(rows[0])
    for row in rows:
        scores = f"{row['accuracy']:.4f}", f"{row['deviation']:.4f}"
        table.writerow([row["cost"], row["gamma"], *scores])
