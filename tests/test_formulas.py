"""Formulas are drawn when the book is built, with all that they need."""

import pytest

formulas = pytest.importorskip("formulas")


def test_a_formula_is_drawn_and_said():
    html = formulas.draw(r"\frac{1}{\sqrt{d}}", display=False)
    assert '<span class="katex-html" aria-hidden="true">' in html
    assert "<mfrac>" in html
    assert "display" not in html
    assert 'class="katex-display"' in formulas.draw("x", display=True)


def test_a_number_stands_beside_its_formula():
    html = formulas.draw(r"x = 1 \tag{2}", display=True)
    assert '<span class="tag">' in html


class Writer:
    """What a visitor needs of Sphinx's."""

    def __init__(self):
        self.body = ["before"]


@pytest.fixture
def written(monkeypatch):
    """Return a function that writes one formula: HTML and warnings."""
    said = []
    monkeypatch.setattr(
        formulas.logging,
        "getLogger",
        lambda name: type("", (), {"warning": lambda *a, **k: said.append(a)}),
    )

    def write(tex):
        def visit(self, node):
            self.body += ['<span class="math">', rf"\({tex}\)", "</span>"]
            raise formulas.nodes.SkipNode

        writer = Writer()
        with pytest.raises(formulas.nodes.SkipNode):
            formulas.drawn(visit)(writer, formulas.nodes.math())
        return "".join(writer.body), said

    return write


def test_a_visitor_draws_what_another_wrote(written):
    html, said = written("a &lt; b")
    assert html.startswith('before<span class="math"><span class="katex">')
    assert "<mo>&lt;</mo>" in html
    assert said == []


def test_a_faulty_formula_is_a_warning(written):
    html, said = written(r"\frac{1}")
    assert "katex" not in html
    assert len(said) == 1
    assert said[0][-1].startswith("Unexpected end of input")


def test_the_fonts_that_pages_need_are_in_the_style_sheet():
    css = (formulas.FOLDER / "katex.min.css").read_text("utf-8")
    for name in formulas.FONTS:
        assert f"fonts/KaTeX_{name}.woff2" in css
        assert (formulas.FOLDER / "fonts" / f"KaTeX_{name}.woff2").exists()
