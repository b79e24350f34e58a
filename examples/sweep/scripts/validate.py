"""The accuracy of one pair of parameters, by cross-validation on the training images."""

import json
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC

params = job.params
digits = np.load(job.input[0])
folds = StratifiedKFold(params.folds, shuffle=True, random_state=params.seed)
model = SVC(C=params.cost, gamma=params.gamma)
scores = cross_val_score(model, digits["train_x"], digits["train_y"], cv=folds, n_jobs=job.cores)

result = {
    "cost": params.cost,
    "gamma": params.gamma,
    "accuracy": scores.mean(),
    "deviation": scores.std(),
}
Path(job.output).write_text(json.dumps(result, indent=2) + "\n")
