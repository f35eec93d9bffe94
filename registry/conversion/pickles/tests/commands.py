"""Runs `convert_pickle` as a user does."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command


def run(file: Path, *more: str) -> str:
    out = io.StringIO()
    call_command("convert_pickle", str(file), *more, stdout=out)
    return out.getvalue()


def error_of(file: Path, *more: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(file, *more)
    return str(caught.value)
