"""`Record`: a row of the prediction log on its way to the database."""

from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings

from predictions.models import MAX_ERROR_LENGTH, Prediction
from predictions.serving.answers import MASKED_ERROR, Answer, readable_reason
from predictions.serving.guards import Asked, Identity
from predictions.serving.idempotency import Claim
from registry.database import clock
from registry.exact_json.values import JSONObject
from registry.models import ModelVersion
from registry.runtimes.base import DeadlineExceeded, RuntimeUnavailable
from registry.signatures.masking import Masks, mask_metadata


def metadata_for_log(metadata: JSONObject | None) -> JSONObject | None:
    """Metadata without what the setting SENSITIVE_METADATA keeps out of the log."""
    if metadata is None or not settings.SENSITIVE_METADATA:
        return metadata
    return mask_metadata(metadata, settings.SENSITIVE_METADATA, settings.MASKING_KEY.encode())


@dataclass(slots=True, eq=False)
class Record:
    """A row of the log on its way to the database; None becomes null.

    Its fields have the names of the columns: orjson serialises a record as the object that the
    statement reads, and leaves out the names that begin with an underscore. Of the fields that are
    not columns, `password_md5` is what the caller's token claims about the password it was issued
    under (None without a token: commands, API keys), and `key` belongs to the statement.
    """

    _version: ModelVersion
    input_data: object
    metadata: JSONObject | None = None
    request_id: str = ""
    user_id: int | None = None
    password_md5: str | None = None
    api_key_id: int | None = None
    reference: str | None = None
    subject: str | None = None
    alias: str | None = None
    arm: str | None = None
    primary_id: int | None = None
    prediction: float | None = None
    confidence: float | None = None
    output: object = None
    flags: list[str] | None = None
    status: str = Prediction.Status.SUCCEEDED.value
    error: str = ""
    latency_ms: float | None = None
    created_at: datetime = field(default_factory=clock.now)
    _claim: Claim | None = None
    # What the caller sent instead of the version's ID.
    _specifier: str | None = None
    # Seconds after which a model that could not be reached may be tried again.
    _retry_after: int | None = None
    _is_late: bool = False
    _masks: Masks | None = None
    _scored_input: object = None
    _is_masked: bool = False
    model_id: int = field(init=False)
    key: int = field(init=False, default=0)
    # 0 until the row is written.
    pk: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.model_id = self._version.pk

    @property
    def model(self) -> ModelVersion:
        return self._version

    @property
    def identity(self) -> Identity:
        return Identity(self.user_id, self.password_md5, self.api_key_id)

    @property
    def asked(self) -> Asked:
        return Asked(self.model_id, self._specifier)

    @property
    def claim(self) -> Claim | None:
        return self._claim

    @property
    def retry_after(self) -> int | None:
        return self._retry_after

    @property
    def is_late(self) -> bool:
        """Whether it failed because there was no answer before the deadline."""
        return self._is_late

    @property
    def scored_input(self) -> object:
        """What the model scored; `input_data` is what the log has of it."""
        return self._scored_input if self._is_masked else self.input_data

    @property
    def masks(self) -> Masks | None:
        return self._masks

    def mask(self) -> None:
        """Leave nothing sensitive in what is written. Does nothing the second time."""
        if self._masks is None or self._is_masked:
            return
        # In this order: another thread may read the scored input at the same time.
        self._scored_input, self._is_masked = self.input_data, True
        self.input_data = self._masks.apply(self._scored_input)
        if self.error and not self._is_late:
            self.error = MASKED_ERROR

    def take(self, answer: Answer) -> None:
        """Copy the answer, or the reason why there is none, into the row."""
        self.latency_ms, self.flags = answer.latency_ms, answer.flags
        if answer.error is not None:
            self.fail(answer.error)
            return
        self.prediction, self.confidence = answer.prediction, answer.confidence
        self.output = answer.output

    def fail(self, error: Exception) -> None:
        """Make it a failed prediction, without the answer that it may have had."""
        self.prediction = self.confidence = self.output = None
        self.status = Prediction.Status.FAILED.value
        self.error = storable_reason(error)
        if isinstance(error, RuntimeUnavailable):
            self._retry_after = error.retry_after
        self._is_late = isinstance(error, DeadlineExceeded)


def storable_reason(error: Exception) -> str:
    """The error's message in a form that a column can hold; the class's name if it is empty."""
    return readable_reason(error)[:MAX_ERROR_LENGTH]
