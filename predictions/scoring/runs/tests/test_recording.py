"""With --record, the log has every row once, as if it had been a request."""

from collections.abc import Callable
from typing import Any

import pytest

from predictions.models import Prediction
from predictions.scoring.runs import recording
from predictions.scoring.runs.requests import Request
from predictions.scoring.runs.tests.conftest import N_ROWS, InlineEngine, answers, score
from predictions.serving import services
from predictions.serving.questions import Question
from registry.models import Alias, ModelVersion

MakeRequest = Callable[..., Request]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CHUNK_ROWS", 7)


@pytest.mark.django_db(transaction=True)
def test_rows_are_recorded_as_requests_are(
    request_for: MakeRequest, champion: ModelVersion
) -> None:
    request = request_for(is_recorded=True, subject_column="flower")

    manifest, _ = score(request)

    recorded = {row.reference: row for row in Prediction.objects.all()}
    scored = [row for row in answers(request.destination) if row["status"] != "invalid"]
    assert manifest["recorded"] == len(recorded) == len(scored) == N_ROWS - 1
    row: Any = recorded["f7"]
    asked: Any = services.predict(Question(model="iris"), row.input_data)
    for name in ("prediction", "status", "error", "alias", "arm", "flags"):
        assert getattr(row, name) == getattr(asked, name), name
    # A call of several rows may round the last digit differently.
    assert row.confidence == pytest.approx(asked.confidence)
    assert row.output["label"] == asked.output["label"]
    assert row.output["probabilities"] == pytest.approx(asked.output["probabilities"])
    assert (row.subject, row.metadata) == ("f7", {"scored_table": manifest["run"]})


@pytest.mark.django_db(transaction=True)
def test_a_row_is_recorded_once_however_often_the_run_is_interrupted(
    request_for: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = recording.Recorder._write, [2]

    def interrupted(self: recording.Recorder, request_id: str, rows: Any) -> None:
        write(self, request_id, rows)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    for chunks in (2, 4, 5):
        left[0] = chunks
        monkeypatch.setattr(recording.Recorder, "_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score(request_for(is_recorded=True))
    monkeypatch.undo()
    monkeypatch.setattr(recording, "CHUNK_ROWS", 7)
    score(request_for(is_recorded=True), InlineEngine())
    score(request_for(is_recorded=True), InlineEngine())

    references = list(Prediction.objects.values_list("reference", flat=True))
    assert len(references) == len(set(references)) == N_ROWS - 1


@pytest.mark.django_db(transaction=True)
def test_the_canary_answers_the_subjects_that_it_answers_for_requests(
    request_for: MakeRequest, champion: ModelVersion, make_version: Any, iris_artifact: Any
) -> None:
    canary = make_version("iris", iris_artifact, version="2")
    Alias.objects.update(canary=canary, canary_percent=40, salt="s")
    request = request_for(is_recorded=True, with_canary=True, subject_column="flower")

    score(request)

    rows = answers(request.destination)
    assert {row["arm"] for row in rows} == {"primary", "canary"}
    for row in Prediction.objects.all():
        question = Question(model="iris", subject=row.subject)
        assert (row.model_id, row.arm) == (question.target.model_id, question.target.arm)
