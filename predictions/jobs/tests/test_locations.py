"""Where jobs may read and write."""

from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import LazySettings
from rest_framework.exceptions import ValidationError

from predictions.jobs.locations import LocationField, LocationRefused, require_allowed


@pytest.fixture
def _allowed(settings: object, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    settings.JOB_LOCATIONS = [str(tmp_path / "out"), "s3://lake/mlapi/"]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_allowed")
def test_what_is_below_an_allowed_location_is_allowed(tmp_path: Path) -> None:
    for location in (f"{tmp_path}/out", f"{tmp_path}/out/2026/jan", "s3://lake/mlapi/x"):
        assert require_allowed(location) == location
    assert require_allowed("s3://lake/mlapi/") == "s3://lake/mlapi"


@pytest.mark.usefixtures("_allowed")
@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "/",
        "out",
        "{out}/../secret",
        "{out}2/x",
        "{out}/\nx",
        "{out}/./x",
        "s3://lake/mlapi2/x",
        "s3://lake/",
        "s3://lake/mlapi/../other",
        "s3://lake/mlapi/x?endpoint=http://169.254.169.254",
        "s3://lake/mlapi/%2e%2e/other",
        "s3://user:secret@lake/mlapi/x",
        "http://lake/mlapi/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_anything_else_is_refused(location: str, tmp_path: Path) -> None:
    with pytest.raises(LocationRefused):
        require_allowed(location.replace("{out}", str(tmp_path / "out")))


@pytest.mark.usefixtures("_allowed")
def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "secret")

    with pytest.raises(LocationRefused):
        require_allowed(f"{tmp_path}/out/link/x")


def test_nothing_is_allowed_by_default(settings: object, tmp_path: Path) -> None:
    with pytest.raises(LocationRefused):
        require_allowed(str(tmp_path))


def test_a_location_that_is_too_long_is_refused_before_it_is_resolved() -> None:
    with pytest.raises(ValidationError, match="no more than 1000 characters"):
        LocationField().run_validation("/" + "x/" * 1000)


def test_a_loop_of_links_is_no_unexpected_error(tmp_path: Path, settings: LazySettings) -> None:
    settings.JOB_LOCATIONS = [str(tmp_path)]
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    # From Python 3.13 on, it is the worker that finds out.
    with suppress(LocationRefused):
        require_allowed(str(tmp_path / "a" / "out"))
