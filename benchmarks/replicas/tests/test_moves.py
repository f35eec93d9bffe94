"""Which versions may have answered while an alias moved."""

from benchmarks.replicas.moves import Answered, Move, wrong_versions

OLD, NEW = 1, 2
MOVES = [Move(OLD, 0, 0), Move(NEW, 10, 11)]


def test_before_and_after_a_move_one_version_is_right() -> None:
    answers = [Answered(OLD, 5, 6), Answered(NEW, 5, 6), Answered(NEW, 12, 13)]
    assert wrong_versions(MOVES, answers) == 1
    assert wrong_versions(MOVES, [Answered(OLD, 11.5, 12)]) == 1


def test_during_a_move_both_are_right() -> None:
    during = [(9, 10.5), (10.2, 10.8), (10.5, 14), (9, 14)]
    answers = [Answered(version, *times) for version in (OLD, NEW) for times in during]
    assert wrong_versions(MOVES, answers) == 0


def test_a_move_whose_answer_was_lost_may_have_been_made_or_not() -> None:
    moves = [Move(OLD, 0, 0), Move(NEW, 10, None), Move(3, 20, 21)]

    assert wrong_versions(moves, [Answered(OLD, 15, 16), Answered(NEW, 15, 16)]) == 0
    assert wrong_versions(moves, [Answered(3, 15, 16), Answered(NEW, 22, 23)]) == 2
