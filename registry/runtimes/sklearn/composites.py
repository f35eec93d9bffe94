"""The parts of scikit-learn's composite estimators. No Django here."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline


def pipeline_steps(pipeline: Pipeline) -> list[object]:
    """The steps that do something."""
    return [step for _, step in pipeline.steps if step is not None and step != "passthrough"]


def branches(transformer: ColumnTransformer) -> Iterator[tuple[object, list[int]]]:
    """Each fitted part with the indices of its columns, without the dropped columns."""
    indices: Mapping[str, Sequence[int]] = transformer._transformer_to_input_indices
    for name, part, _ in transformer.transformers_:
        if part != "drop":
            yield part, list(indices[name])


def is_float_check(part: object) -> bool:
    """Whether this is the step in which histogram boosting converts its numeric columns."""
    function = getattr(part, "func", None)
    keywords: Mapping[str, Sequence[type]] = getattr(function, "keywords", {})
    dtypes = keywords.get("dtype", ())
    return bool(dtypes) and all(np.dtype(dtype).kind == "f" for dtype in dtypes)
