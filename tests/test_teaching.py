"""Lesson plans fill their minutes, and name exercises that exist."""

import re
from pathlib import Path

import pytest

from vitlib.exercises import exercises

TEXT = (
    Path(__file__).resolve().parents[1] / "book" / "teaching.md"
).read_text("utf-8")
LESSONS = re.findall(
    r"^## (Lesson \d+: .+?) \((\d+) minutes\)\n(.*?)(?=^## )",
    TEXT,
    re.MULTILINE | re.DOTALL,
)


def minutes(body):
    """Return the minutes of a plan's rows."""
    return [int(n) for n in re.findall(r"^\| (\d+) \|", body, re.MULTILINE)]


def test_there_are_plans_of_both_lengths():
    assert [int(n) for _, n, _ in LESSONS] == [50, 50, 50, 90, 90, 90]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson[0])
def test_a_plan_fills_its_minutes_and_has_keys(lesson):
    _, length, body = lesson
    assert sum(minutes(body)) == int(length)
    parts = re.split(r"^\*\*Question \d\.\*\*", body, flags=re.MULTILINE)[1:]
    assert len(parts) == 2
    for part in parts:
        assert part.count("<summary>Key</summary>") == 1
    assert body.count("../notebooks/") > 3  # what to run live


def test_named_exercises_exist():
    named = set(re.findall(r'vitlib\.check\("(\d\d-\d)"', TEXT))
    assert len(named) > 5
    assert named <= set(exercises())
