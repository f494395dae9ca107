"""Exercises that grade themselves: `vitlib.check("05-2", my_function)`.

Each chapter has a module beside this one with its cases, the right answer
and the likely wrong ones. An answer is run on the cases and compared: with
the right one first, then with the wrong ones, whose words it gets, then
with what often happens to tensors (`_words`).
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

from vitlib.exercises._words import differences, equal, shapes_of

MISSING = object()


@dataclass(frozen=True)
class Exercise:
    """What is asked, and how an answer is told right from wrong.

    Attributes:
        asks: What to pass to `check`: a signature and what it returns.
        hint: One or two sentences that help without giving it away.
        right: The right answer: a function of a case, or a value.
        wrong: Likely wrong answers of the same kind, by the words for them.
        cases: Draws the arguments that a function is tried on.
        call: How an answer is tried on one case.
        tolerance: By how much numbers may differ, as a share and at all.
    """

    asks: str
    hint: str
    right: Any
    wrong: dict[str, Any]
    cases: Callable[[], list[tuple]] = lambda: [()]
    call: Callable[..., Any] = lambda answer, *case: answer(*case)
    tolerance: float = 1e-4


@dataclass(frozen=True)
class Verdict:
    """One line about an answer; true where the answer is right."""

    right: bool
    words: str = field(compare=False)

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return self.words


def exercises() -> dict[str, Exercise]:
    """Return all exercises that can be graded, by number ("05-2")."""
    found = {}
    for module in iter_modules(__path__):
        if module.name.startswith("ch"):
            chapter = import_module(f"{__name__}.{module.name}")
            for number, exercise in chapter.EXERCISES.items():
                found[f"{module.name[2:]}-{number}"] = exercise
    return found


def check(name: str, answer: Any = MISSING, *, hint: bool = False) -> Verdict:
    """Grade an answer to an exercise, without network and in a moment.

    Args:
        name: Chapter and exercise, such as "05-2".
        answer: The function or value that the exercise asks for. Without
            one, the verdict says what is asked.
        hint: Give a hint in place of grading.

    Returns:
        A verdict: true where right, and one line in words.

    Raises:
        ValueError: if no exercise of that name can be graded.
    """
    known = exercises()
    if name not in known:
        raise ValueError(
            f"no exercise {name!r} to grade; there are {', '.join(known)}"
        )
    exercise = known[name]
    if hint:
        return Verdict(False, f"{name}, hint: {exercise.hint}")
    if answer is MISSING:
        return Verdict(False, f"{name} asks for {exercise.asks}")
    words = fault(exercise, answer)
    if words:
        return Verdict(False, f"{name}: not yet. {words}")
    return Verdict(True, f"{name}: right.")


def fault(exercise: Exercise, answer: Any) -> str:
    """Say what is wrong with an answer; nothing where it is right."""
    if callable(exercise.right) != callable(answer):
        kind = "function itself" if callable(exercise.right) else "value"
        return f"Pass the {kind}: {exercise.asks}."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cases = exercise.cases()
    expected = outcomes(exercise, exercise.right, cases)
    found = outcomes(exercise, answer, cases)
    tolerance = exercise.tolerance
    bad = [
        i
        for i, pair in enumerate(zip(found, expected, strict=True))
        if not equal(*pair, tolerance)
    ]
    if not bad:
        return ""
    for words, other in exercise.wrong.items():
        theirs = outcomes(exercise, other, cases)
        pairs = zip(found, theirs, strict=True)
        if all(equal(*pair, tolerance) for pair in pairs):
            return words
    first = bad[0]
    words = differences(found[first], expected[first], tolerance)
    if not callable(answer):
        return words
    where = f" Seen with {shapes_of(cases[first])}"
    if len(bad) < len(cases):
        where += f"; {len(cases) - len(bad)} of {len(cases)} cases are right"
    return words + where + "."


def outcomes(exercise: Exercise, answer: Any, cases: list[tuple]) -> list:
    """Try an answer on each case; what it raises is an outcome, too."""
    if not callable(answer):
        return [answer]
    found = []
    for case in cases:
        given = deepcopy(case)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                result = exercise.call(answer, *given)
        except Exception as error:  # the reader's own: told, not raised
            result = error
        tensors = zip(given, case, strict=True)
        if any(
            isinstance(now, torch.Tensor) and not equal(now, before, 0)
            for now, before in tensors
        ):
            result = RuntimeError("the input was changed in place")
        found.append(result)
    return found
