import pytest

from benchmarks.profiling import OTHER, count_stacks, part_of

SITE = "/venv/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("frame", "part"),
    [
        (f"execute ({SITE}/psycopg/cursor.py:97)", "database"),
        (f"execute ({SITE}/django/db/backends/utils.py:8)", "database"),
        (f"get_response ({SITE}/django/core/handlers/base.py:1)", "Django and middleware"),
        (f"dispatch ({SITE}/rest_framework/views.py:1)", "REST framework"),
        ("parse (/src/mlapi/rest/parsers.py:10)", "JSON"),
        ("score (/src/predictions/serving/inference.py:3)", "inference"),
        ("predict (/src/predictions/serving/services.py:3)", "the rest of mlapi"),
        ("main (/somewhere/else.py:1)", OTHER),
    ],
)
def test_stack_belongs_to_the_innermost_frame_with_a_known_file(frame: str, part: str) -> None:
    outer = f"_runner ({SITE}/granian/wsgi.py:1)" if part != OTHER else frame
    inner = "acquire (/usr/lib/python3.11/threading.py:5)"

    assert part_of(f"{outer};{frame};{inner}") == part


def test_stacks_are_counted() -> None:
    assert count_stacks(["a (x.py:1);b (y.py:2) 7", "a (x.py:1);b (y.py:2) 3", ""]) == {
        "a (x.py:1);b (y.py:2)": 10
    }
