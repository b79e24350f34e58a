"""The 1,797 digits that come with scikit-learn, a quarter of them put aside for the end."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    images, labels, test_size=0.25, stratify=labels, random_state=job.params.seed
)
np.savez(job.output[0], train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y)
