"""The best pair of parameters on images that had no say in choosing it."""

import csv
import json
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

with open(job.input.sweep) as file:
    best = next(csv.DictReader(file, delimiter="\t"))
digits = np.load(job.input.digits)
model = SVC(C=float(best["cost"]), gamma=float(best["gamma"]))
model.fit(digits["train_x"], digits["train_y"])

result = {
    "cost": float(best["cost"]),
    "gamma": float(best["gamma"]),
    "validated": float(best["accuracy"]),
    "tested": model.score(digits["test_x"], digits["test_y"]),
}
Path(job.output).write_text(json.dumps(result, indent=2) + "\n")
