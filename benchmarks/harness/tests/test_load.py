import pytest

from benchmarks.harness.load import lua_script, parse

OUTPUT = """Running 3s test @ http://127.0.0.1:8000
  1 threads and 16 connections

@{"responses": 3000, "microseconds": 2000000, "p50_us": 1500, "p99_us": 20250, "max_us": 30000, \
"refused": 0, "broken": 0, "late": 0}
"""


def test_figures_are_read_in_seconds_and_milliseconds() -> None:
    figures = parse(OUTPUT)

    assert figures.per_second == 1500
    assert (figures.p50_ms, figures.p99_ms) == (1.5, 20.25)
    assert not figures.has_failed


@pytest.mark.parametrize("kind", ["refused", "broken", "late"])
def test_a_single_failure_fails_the_run(kind: str) -> None:
    assert parse(OUTPUT.replace(f'"{kind}": 0', f'"{kind}": 1')).has_failed


def test_output_without_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="No figures"):
        parse("unable to connect")


def test_script_contains_the_headers() -> None:
    script = lua_script({"Authorization": "Bearer x"})

    assert '["Authorization"] = "Bearer x"' in script
    assert '["Content-Type"] = "application/json"' in script
    assert "%%" not in script
