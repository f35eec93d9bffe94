"""Trains the two models of the story: `python -m benchmarks.monitoring.programs.train_car_loans
TRAINING.csv FOLDER`.

The champion is gradient boosting; the candidate is a random forest, which is as good on held-out
data. Nothing is tuned.
"""

import sys
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.base import ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

CATEGORIES = ["salary_range", "size_of_downpayment"]
LABEL = "outcome"
SEED = 20261109


def main(training: Path, folder: Path) -> None:
    rows = pd.read_csv(training)
    boosting = HistGradientBoostingClassifier(random_state=SEED)
    forest = RandomForestClassifier(n_estimators=30, min_samples_leaf=5, random_state=SEED)
    write(folder / "champion.skops", boosting, rows)
    write(folder / "candidate.skops", forest, rows)


def write(file: Path, classifier: ClassifierMixin, rows: pd.DataFrame) -> None:
    encoder = (OneHotEncoder(sparse_output=False), CATEGORIES)
    pipeline = make_pipeline(make_column_transformer(encoder, remainder="passthrough"), classifier)
    skops.io.dump(pipeline.fit(rows.drop(columns=LABEL), rows[LABEL]), file)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
