"""The accuracy of all pairs as a heat map."""

import csv

import matplotlib

matplotlib.use("Agg")  # nodes of a cluster have no screen

import matplotlib.pyplot as plt

with open(job.input[0]) as file:
    rows = list(csv.DictReader(file, delimiter="\t"))
accuracy = {(float(row["cost"]), float(row["gamma"])): float(row["accuracy"]) for row in rows}
costs = sorted({cost for cost, _ in accuracy})
gammas = sorted({gamma for _, gamma in accuracy})

figure, axes = plt.subplots(figsize=(5.5, 4.5), layout="constrained")
image = axes.imshow([[accuracy[cost, gamma] for gamma in gammas] for cost in costs], vmin=0, vmax=1)
axes.set(xlabel="gamma", ylabel="cost", title="Digits: cross-validated accuracy")
axes.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
axes.set_yticks(range(len(costs)), [f"{cost:g}" for cost in costs])
for row, cost in enumerate(costs):
    for column, gamma in enumerate(gammas):
        value = accuracy[cost, gamma]
        colour = "black" if value > 0.5 else "white"
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
figure.colorbar(image)
figure.savefig(job.output, dpi=150)
