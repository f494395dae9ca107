"""A report is one page with its figures, and never written over another."""

import re

import pytest
from matplotlib import pyplot as plt

from vitlib.report import Section, write_report


@pytest.fixture
def sections():
    """Two parts, one with a figure, one with text that could break HTML."""
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    yield [
        Section("Cats & dogs", "a < b\n\nsecond", figure, 'a "rising" line'),
        Section("No figure", "end"),
        Section("No text", ""),
    ]
    plt.close(figure)


def test_the_page_holds_text_and_figures(tmp_path, sections):
    page = write_report(tmp_path / "new" / "report", "Mine <1>", sections)
    text = page.read_text("utf-8")
    assert page == tmp_path / "new" / "report" / "index.html"
    assert "<h1>Mine &lt;1&gt;</h1>" in text
    assert "<h2>Cats &amp; dogs</h2>\n<p>a &lt; b</p>\n<p>second</p>" in text
    assert 'src="figure-1.png" alt="a &quot;rising&quot; line"' in text
    assert [p.name for p in sorted(page.parent.iterdir())] == [
        "figure-1.png",
        "index.html",
    ]
    assert not re.search(r"https?://", text)
    assert "<p></p>" not in text
    assert [p.name for p in page.parent.parent.iterdir()] == ["report"]


def test_sections_may_come_one_by_one(tmp_path, sections):
    page = write_report(tmp_path / "report", "Mine", iter(sections))
    assert page.read_text("utf-8").count("<h2>") == 3
    bare = (part._replace(alt="") for part in sections)
    with pytest.raises(ValueError, match="needs alt"):
        write_report(tmp_path / "other", "Mine", bare)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_empty_line_parts_paragraphs(tmp_path, end):
    part = Section("Title", f"one{end}line{end}{end}two")
    text = write_report(tmp_path / "report", "Mine", [part]).read_text("utf-8")
    assert "<p>one\nline</p>\n<p>two</p>" in text


def test_what_no_encoding_holds_is_replaced(tmp_path):
    part = Section("Half \ud83d", "of a sign")
    text = write_report(tmp_path / "report", "Mine", [part]).read_text("utf-8")
    assert "<h2>Half ?</h2>" in text


def test_nothing_is_written_over(tmp_path, sections):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="report exists; name a folder"):
        write_report(tmp_path / "report", "Mine", sections)
    names = [p.name for p in (tmp_path / "report").iterdir()]
    assert names == ["mine.txt"]


def test_a_figure_needs_words(tmp_path, sections):
    bare = [sections[0]._replace(alt=" ")]
    with pytest.raises(ValueError, match="figure of 'Cats & dogs' needs alt"):
        write_report(tmp_path / "report", "Mine", bare)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_nothing(tmp_path, sections):
    spoilt = [sections[0]._replace(figure=object())]
    with pytest.raises(AttributeError):
        write_report(tmp_path / "report", "Mine", spoilt)
    assert not list(tmp_path.iterdir())
