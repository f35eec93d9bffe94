import json

from benchmarks.traffic.kinds import INFER, JSON_BATCH, MIX, STREAM, Acknowledged

ROWS = [(1.0, 0.5), (1.0, 0.25)]


def test_cut_off_stream_acknowledges_its_complete_lines() -> None:
    lines = b'{"line":1,"id":7,"prediction":2.0,"confidence":null}\n{"line":2,"id":8,"predi'

    assert STREAM.read(lines, ROWS) == [Acknowledged(7, 0.5, (2.0, None))]


def test_rejected_lines_and_the_summary_acknowledge_nothing() -> None:
    lines = b'{"line":1,"errors":{}}\n{"summary":{"lines":1,"complete":true}}\n'

    assert STREAM.read(lines, ROWS) == []


def test_infer_response_acknowledges_ids() -> None:
    body = json.dumps({"parameters": {"prediction_ids": "[3, 4]"}}).encode()

    assert INFER.read(body, ROWS) == [Acknowledged(3, 0.5, None), Acknowledged(4, 0.25, None)]


def test_batch_response_is_read_in_order() -> None:
    body = json.dumps([{"id": i, "prediction": 1.0, "confidence": 0.5} for i in (3, 4)]).encode()

    assert [row.marker for row in JSON_BATCH.read(body, ROWS)] == [0.5, 0.25]


def test_mix_has_every_kind_and_different_requests() -> None:
    assert len({kind.name for kind in MIX}) == 6
    for kind in MIX:
        request = kind.build(1, "iris", [ROWS[0]] * kind.n_rows)
        assert b"0.5" in request.body
