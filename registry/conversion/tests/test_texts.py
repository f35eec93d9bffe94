"""Models of free text are converted only on real texts, and then agree on unusual ones as well."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from registry.artifacts.errors import ArtifactRejected
from registry.conversion.tests.matrix import Matrix, convert_here, save

pytestmark = [pytest.mark.slow, pytest.mark.any_database]

WORDS = [
    *("the", "a", "of", "and", "good", "bad", "film", "dull", "very", "Not", "great!"),
    *("naïve", "42", "don't", "e-mail", "über", "plot,", "story;", "ending"),
]
RANDOM = np.random.default_rng(0)
TEXTS = [" ".join(RANDOM.choice(WORDS, RANDOM.integers(1, 12))) for _ in range(2200)]
LABELS = np.array([("good" in text) == ("bad" not in text) for text in TEXTS])
EXAMPLE = [{"text": text} for text in TEXTS[1000:2100]]
UNUSUAL = [
    "",
    "unseen words only",
    "The GOOD, the bad & ugly",
    "Straße über naïve",
    "  spaces   here ",
    "日本語 film",
    "tab\tnewline\nfilm",
    "don't e-mail",
    "a_b c_d",
    "film film film",
    "GOOD BAD the of and",
    "x",
]
FRESH = [{"text": text} for text in [*TEXTS[2100:], *UNUSUAL]]


def fitted(vectorizer: Any) -> Any:
    model = make_pipeline(vectorizer, LogisticRegression(max_iter=300))
    return model.fit(np.array(TEXTS[:1000], dtype=object), LABELS[:1000])


@pytest.mark.parametrize("vectorizer", [TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2))])
def test_free_text_without_example_rows_is_refused(vectorizer: Any, tmp_path: Path) -> None:
    """Made-up texts "proved" a bigram vectorizer that is wrong on most real ones."""
    path = save(fitted(vectorizer), tmp_path / "model.skops")

    with pytest.raises(ArtifactRejected, match=r"not list \('text'\).*--example-file") as caught:
        convert_here(path)

    assert caught.value.errors.keys() == {"example"}


def test_real_texts_prove_or_refuse_a_vectorizer(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, vectorizer in {
            "tf-idf": TfidfVectorizer(),
            "counts": CountVectorizer(),
            "present or not": CountVectorizer(binary=True),
            "stop words": TfidfVectorizer(stop_words="english"),
            "capitals": TfidfVectorizer(lowercase=False),
            "few features": TfidfVectorizer(max_features=5),
            "bigrams": TfidfVectorizer(ngram_range=(1, 2)),
            "bigrams without stop words": TfidfVectorizer(ngram_range=(1, 2), stop_words="english"),
            "logarithmic": TfidfVectorizer(sublinear_tf=True),
            "characters": TfidfVectorizer(analyzer="char", ngram_range=(1, 3)),
            "accents": TfidfVectorizer(strip_accents="unicode"),
            "hashed": HashingVectorizer(n_features=64),
            "own pattern": TfidfVectorizer(token_pattern=r"(?u)\b\w+\b"),
        }.items():
            matrix.add(name, fitted(vectorizer), FRESH, example=EXAMPLE)

    assert matrix.converted == [
        "tf-idf",
        "counts",
        "present or not",
        "stop words",
        "capitals",
        "few features",
    ]
    assert "scores differently" in matrix.refused["bigrams without stop words"]
    assert "no converter to ONNX for HashingVectorizer" in matrix.refused["hashed"]


def test_a_difference_on_unusual_texts_alone_is_found(tmp_path: Path) -> None:
    """The example rows are single words; only pairs of words show that bigrams differ."""
    model = fitted(TfidfVectorizer(ngram_range=(1, 2)))
    path = save(model, tmp_path / "model.skops")
    words = [{"text": word} for word in RANDOM.choice(["film", "good", "bad"], 1000).tolist()]

    with pytest.raises(ArtifactRejected, match="scores differently"):
        convert_here(path, words)


def test_boolean_labels_stay_boolean(tmp_path: Path) -> None:
    matrix = Matrix(tmp_path)

    matrix.add("boolean", fitted(TfidfVectorizer()), FRESH, example=EXAMPLE)

    assert matrix.converted == ["boolean"]
