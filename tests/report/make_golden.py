# SPDX-License-Identifier: Apache-2.0
"""Golden values of agreement: Cohen's kappa from scikit-learn, Fleiss' kappa restated from the paper of 1971.

Run with scikit-learn installed: python3 make_golden.py > golden/kappa.json
"""
import json

import numpy as np
from sklearn.metrics import cohen_kappa_score


def fleiss(category, n_categories):
    n_items, n_raters = category.shape
    counts = np.stack([(category == k).sum(axis=1) for k in range(n_categories)], axis=1)
    share = counts.sum(axis=0) / (n_items * n_raters)
    per_item = ((counts ** 2).sum(axis=1) - n_raters) / (n_raters * (n_raters - 1))
    chance = (share ** 2).sum()
    return (per_item.mean() - chance) / (1 - chance)


random = np.random.default_rng(12)
cases = []
for n_items, n_raters, n_categories, noise in [(12, 2, 3, 0.2), (50, 3, 5, 0.4), (200, 4, 12, 0.7), (7, 2, 2, 1.0),
                                               (30, 5, 4, 0.0)]:
    truth = random.integers(0, n_categories, n_items)
    guess = random.integers(0, n_categories, (n_items, n_raters))
    category = np.where(random.random((n_items, n_raters)) < noise, guess, truth[:, None])
    cases.append({"n_items": n_items, "n_raters": n_raters, "n_categories": n_categories,
                  "category": category.ravel().tolist(), "cohen": cohen_kappa_score(category[:, 0], category[:, 1]),
                  "fleiss": fleiss(category, n_categories)})
# The example of Fleiss (1971) in the form in which textbooks repeat it: 10 items, 14 raters, 5 categories, kappa 0.210.
table = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
         [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
category = np.array([[k for k in range(5) for _ in range(row[k])] for row in table])
cases.append({"n_items": 10, "n_raters": 14, "n_categories": 5, "category": category.ravel().tolist(),
              "cohen": cohen_kappa_score(category[:, 0], category[:, 1]), "fleiss": fleiss(category, 5)})
print(json.dumps({"cases": cases}))
