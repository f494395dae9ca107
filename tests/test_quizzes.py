"""Quizzes: one right option a question, and a reason for each option."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
QUIZZES = sorted((ROOT / "book").glob("quiz_*.md"))
OPTION = re.compile(
    r"<details>\n<summary>([A-D])\. ([^\n]+)</summary>\n\n"
    r"\*\*(Right|No)\.\*\* (.+?)\n\n</details>\n",
    re.DOTALL,
)
REASON = 40  # letters at least


def questions(text):
    """Return title, text and options of each question of a page."""
    parts = re.split(r"^## (\d+)\. (.+)$", text, flags=re.MULTILINE)
    return [
        (int(number), title, body.partition("<details>")[0], body)
        for number, title, body in zip(
            parts[1::3], parts[2::3], parts[3::3], strict=True
        )
    ]


def faults(text):
    """Say what is wrong with a quiz."""
    found, asked = [], questions(text)
    if [number for number, *_ in asked] != list(range(1, len(asked) + 1)):
        found.append("numbers")
    if not 6 <= len(asked) <= 10:
        found.append(f"{len(asked)} questions")
    rights = []
    for number, _, question, body in asked:
        options = OPTION.findall(body)
        letters = "".join(letter for letter, *_ in options)
        if letters not in ("ABC", "ABCD") or body.count("<details>") != len(
            options
        ):
            found.append(f"{number}: options {letters}")
        if "?" not in question:
            found.append(f"{number}: nothing is asked")
        right = [letter for letter, _, word, _ in options if word == "Right"]
        rights += right
        if len(right) != 1:
            found.append(f"{number}: {len(right)} right options")
        if any(len(reason) < REASON for *_, reason in options):
            found.append(f"{number}: no reason")
    if len(set(rights)) < 3:
        found.append("the right option stands at too few places")
    return found


@pytest.mark.parametrize("path", QUIZZES, ids=lambda path: path.stem)
def test_each_question_has_one_right_option_and_reasons(path):
    assert faults(path.read_text("utf-8")) == []


def spoilt(change):
    """Change the first quiz, as an author might by mistake."""
    text = QUIZZES[0].read_text("utf-8")
    changed = change(text)
    assert changed != text
    return faults(changed)


def test_a_fault_is_noticed():
    right, wrong = "**Right.**", "**No.**"
    assert "1: 0 right options" in spoilt(lambda t: t.replace(right, wrong))
    assert "1: 2 right options" in spoilt(lambda t: t.replace(wrong, right, 1))
    assert "1: no reason" in spoilt(
        lambda t: re.sub(
            r"\*\*No\.\*\* .+?\n\n", "**No.** So.\n\n", t, flags=re.S
        )
    )
    assert "1: options AC" in spoilt(lambda t: t.replace("B. ", "E. ", 1))
    assert "numbers" in spoilt(lambda t: t.replace("## 2. ", "## 3. ", 1))
    assert "5 questions" in spoilt(lambda t: t.partition("## 6. ")[0])


def test_each_part_ends_with_its_quiz():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    last = [
        part["chapters"][-1]["file"]
        for part in toc["parts"]
        if part["caption"].startswith("Part ")
    ]
    assert last == [f"book/quiz_{n}" for n in range(1, len(last) + 1)]
    assert len(last) == len(QUIZZES) == 5
    for part in toc["parts"]:
        caption = part["caption"]
        if caption.startswith("Part "):
            page = ROOT / f"{part['chapters'][-1]['file']}.md"
            title = page.read_text("utf-8").splitlines()[0]
            assert title == f"# Quiz: {caption.replace(':', ',')}"
