"""The commands set_reference, register_model --reference and count_predictions."""

from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from predictions.evaluation.references.tests.test_api import iris_rows
from predictions.models import HourCounts, Reference, StaleHour
from predictions.testing.counting import churn, create_random, set_random_reference
from predictions.testing.rows import NOON, wait_until_followable
from registry.models import ModelVersion
from registry.testing.artifacts import Artifact


def run_command(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(iris_rows())
    return path


def test_a_file_is_set_once(iris: ModelVersion, file: Path) -> None:
    first = run_command("set_reference", "iris:1", str(file), "--label-column=species")
    again = run_command("set_reference", str(iris.pk), str(file), "--label-column=species")

    row = Reference.objects.get()
    assert f"60 rows, 60 with a label are the reference of iris:1: {row.digest}" in first
    assert f"iris:1 already has this reference: {row.digest}" in again


def test_a_window_is_set(db: None) -> None:
    create_random(churn(), 1, 1000)
    until = NOON + timedelta(hours=3)

    text = run_command(
        "set_reference", "churn:1", f"--since={NOON.isoformat()}", f"--until={until.isoformat()}"
    )

    assert "1,000 rows are the reference of churn:1" in text
    # Of the log, failures are part of what is usual; here they are one in ten.
    assert "The model failed on" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["iris:1"], "Give either a file, or --since and --until."),
        (["iris:1", "rows.csv", "--since=2026-01-01"], "Give either a file"),
        (["iris:1", "--since=2026-01-01"], "--until: This field is required."),
        (["iris:1", "--since=2026-01-01", "--until=x"], "--until: Datetime has wrong format"),
        (["iris:2", "rows.csv"], "not found"),
        (["iris", "rows.csv"], "must be name:version, or an ID"),
        (["iris:1", "absent.csv"], "absent.csv cannot be read"),
        (["iris:1", "rows.txt"], "The name of the file must end with"),
    ],
)
def test_mistakes_are_explained(iris: ModelVersion, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as error:
        run_command("set_reference", *arguments)

    assert message in str(error.value)
    assert not Reference.objects.exists()


@pytest.mark.usefixtures("cached_proofs", "model_path")
@pytest.mark.django_db
def test_a_version_is_registered_with_its_reference(
    iris_artifact: Artifact, tmp_path: Path, file: Path
) -> None:
    model = tmp_path / "model.skops"
    model.write_bytes(iris_artifact.content)
    arguments = ["register_model", str(model), "--name=iris", "--version=1"]

    run_command(*arguments, f"--reference={file}", "--label-column=species")
    # The same again changes nothing.
    run_command(*arguments, f"--reference={file}", "--label-column=species")

    assert Reference.objects.get().labelled_rows == 60


@pytest.mark.usefixtures("cached_proofs", "model_path")
@pytest.mark.django_db
def test_a_file_that_is_no_reference_leaves_the_version_registered(
    iris_artifact: Artifact, tmp_path: Path
) -> None:
    model, rows = tmp_path / "model.skops", tmp_path / "rows.csv"
    model.write_bytes(iris_artifact.content)
    rows.write_text("a,b\n")

    with pytest.raises(CommandError, match=r"iris:1 is registered, but .* no column 'features'"):
        run_command("register_model", str(model), "--name=iris", f"--reference={rows}")
    with pytest.raises(CommandError, match="there is no file"):
        run_command("register_model", str(model), "--name=other", "--reference=absent.csv")
    with pytest.raises(CommandError, match="--label-column needs --reference"):
        run_command("register_model", str(model), "--name=other", "--label-column=x")

    assert ModelVersion.objects.get().name == "iris"


@pytest.mark.django_db(transaction=True)
def test_the_log_is_counted_by_the_command_and_resumed() -> None:
    version = churn()
    create_random(version, 1, 90)
    set_random_reference(version)
    wait_until_followable()

    stopped = run_command("count_predictions", "--max-seconds=0")
    finished = run_command("count_predictions")
    again = run_command("count_predictions")

    assert "3 hours must still be counted." in stopped
    assert "Counted 90 rows" in finished
    assert "Counted 0 rows" in again
    assert sum(HourCounts.objects.values_list("rows", flat=True)) == 90
    assert not StaleHour.objects.exists()
