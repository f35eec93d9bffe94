"""The rows that an input is compared with."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from predictions.evaluation.explanations.errors import ExplanationRefused
from predictions.evaluation.references.background import background_inputs
from predictions.models import Reference
from registry.models import ModelVersion
from registry.signatures.arrangement import Arrays, arrange
from registry.signatures.signature import Signature
from registry.signatures.validation import InvalidInput, dtype_of

Kind: TypeAlias = Literal["training", "reference", "zeros"]

MAX_BACKGROUND_ROWS = 50


@dataclass(frozen=True, slots=True)
class Background:
    """What the base is the mean of: the rows on which trees were trained, as they count them; rows
    of the version's reference; or a row of zeros.
    """

    kind: Kind
    arrays: Arrays = field(default_factory=dict, repr=False)
    reference_id: int | None = None

    @property
    def rows(self) -> int:
        return len(next(iter(self.arrays.values()))) if self.arrays else 0


def background_of(version: ModelVersion, signature: Signature, *, is_additive: bool) -> Background:
    """The background of the version's reference in force; for an additive model of numbers without
    one, zeros. Raises ExplanationRefused.
    """
    newest = Reference.objects.filter(model=version).defer("profile").order_by("-id")
    reference = newest.first()
    rows = [] if reference is None else background_inputs(reference)
    if reference is not None and rows:
        # Evenly, since the first may be alike.
        places = np.linspace(0, len(rows) - 1, min(len(rows), MAX_BACKGROUND_ROWS)).astype(int)
        try:
            arrays = arrange(signature, [rows[place] for place in places])
        except InvalidInput as error:
            raise ExplanationRefused(
                f"The background of reference {reference.pk} does not fit the model: {error}"
            ) from error
        return Background("reference", arrays, reference.pk)
    if is_additive and all(tensor.datatype != "BYTES" for tensor in signature.inputs):
        zeros = {
            tensor.name: np.zeros((1, *tensor.row_shape), dtype_of(tensor))
            for tensor in signature.inputs
        }
        return Background("zeros", zeros)
    raise ExplanationRefused(
        f"Model {version.pk} has no reference to compare the input with. Set one with "
        f"PUT /api/v1/models/{version.pk}/reference/ or manage.py set_reference."
    )
