"""The book holds together: its pages, their tables, the built site."""

import os
import re
import subprocess
import sys
from pathlib import Path

import hygiene
import nbformat
import pages
import pytest
import yaml

import book as book_tool
from vitlib import VARIANTS

ROOT = Path(__file__).resolve().parents[1]
VITLIB = ROOT / "vitlib"
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
URL = hygiene.repository_url()
COLAB = URL.replace(
    "https://github.com", "https://colab.research.google.com/github"
)
# Modules that serve every chapter.
EVERYWHERE = {"exercises", "plot", "results", "show"}


def read(path):
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def title_of(chapter):
    """Return the number and the title of a notebook, from its first line."""
    nb = nbformat.read(chapter, as_version=4)
    line = nb.cells[0].source.splitlines()[0]
    return re.fullmatch(r"# (\d+)\. (.+)", line).groups()


def modules():
    """Return the chapter's number of each public module, or None.

    A package of one chapter, or of none, counts as one module.
    """
    found = {}
    for file in sorted(VITLIB.rglob("*.py")):
        parts = file.relative_to(VITLIB).with_suffix("").parts
        name = "/".join(parts).removesuffix("/__init__")
        text = file.read_text("utf-8")
        many = len(parts) == 2 and text.startswith('"""Chapters ')
        within = len(parts) == 2 and parts[1] != "__init__"
        if any(part.startswith("_") for part in name.split("/")) or many:
            continue
        if within and parts[0] in found:
            continue
        number = re.match(r'"""Chapters? (\d+)', text)
        found[name] = number and number.group(1)
    return found


def linked_modules(text):
    """Return the modules that a text links to in the repository."""
    web = re.escape(f"{URL}/blob/main/")
    link = rf"\]\((?:{web}|\.\./)?vitlib/(\w+(?:/\w+)?)(?:\.py|/)?\)"
    found = re.findall(link, text)
    return {name.removesuffix("/__init__") for name in found}


def test_every_page_is_in_the_table_of_contents_and_back():
    toc = yaml.safe_load(read("_toc.yml"))
    listed = [toc["root"]]
    for part in toc["parts"]:
        listed += [entry["file"] for entry in part["chapters"]]
    files = [*CHAPTERS, *(ROOT / "book").glob("*.md")]
    written = [f.relative_to(ROOT).with_suffix("").as_posix() for f in files]
    assert sorted(listed) == sorted(written)


def test_no_sentence_that_ends_in_1_becomes_a_list():
    """Markdown begins a list where a line begins with "1. "."""
    texts = [path.read_text("utf-8") for path in ROOT.glob("book/*.md")]
    for path in ROOT.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts += [c.source for c in cells if c.cell_type == "markdown"]
    begun = re.compile(r"^(?! *\d+[.)]) *\S.*\n *1[.)] .*", re.M)
    assert [found for text in texts for found in begun.findall(text)] == []


def test_public_modules_name_their_chapter():
    without = {name for name, chapter in modules().items() if not chapter}
    assert without == EVERYWHERE


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_links_to_its_modules(path):
    number, _ = title_of(path)
    mine = {name for name, chapter in modules().items() if chapter == number}
    text = "\n".join(
        cell.source
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
    )
    assert linked_modules(text)  # a chapter may have no module of its own
    assert mine <= linked_modules(text)


def test_readme_table_has_every_chapter_with_its_modules():
    text = read("README.md")
    chapter_of = modules()
    for path in CHAPTERS:
        number, title = title_of(path)
        name = f"notebooks/{path.name}"
        row = next(
            (
                line
                for line in text.splitlines()
                if line.startswith(f"| {number}. [{title}]({name}) |")
            ),
            None,
        )
        assert row, f"no row for chapter {number}, {title}"
        assert f"({COLAB}/blob/main/{name})" in row
        mine = {key for key, value in chapter_of.items() if value == number}
        assert linked_modules(row) == mine if mine else linked_modules(row)


def test_preface_lists_every_chapter():
    text = read("book/intro.md")
    for path in CHAPTERS:
        number, title = title_of(path)
        assert f"| {number}. [{title}](../notebooks/{path.name}) |" in text


def test_notation_page_gives_the_models_own_sizes():
    rows = {}
    for line in read("book/notation.md").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].startswith("$"):
            rows.setdefault(cells[0], cells[2:])
    for column, name in enumerate(("B/16", "Book/4")):
        config = VARIANTS[name]
        expected = {
            "$C$": config.in_chans,
            "$H$, $W$": f"{config.img_size}, {config.img_size}",
            "$P$": config.patch_size,
            "$N$": config.num_patches,
            "$T$": config.num_tokens,
            "$D$": config.embed_dim,
            "$L$": config.depth,
            "$h$": config.num_heads,
            "$d$": config.head_dim,
            "$K$": config.num_classes,
        }
        for letter, value in expected.items():
            shown = f"{value:,}" if isinstance(value, int) else value
            assert rows[letter][column] == shown, letter


def test_the_repository_has_one_address():
    other = re.compile(r"github\.com/(?:github/)?([\w.-]+/vit-step-by-step)")
    owner_and_name = URL.removeprefix("https://github.com/")
    files = [*ROOT.glob("*.*"), *CHAPTERS, *(ROOT / "book").glob("*.md")]
    for file in files:
        if file.is_file():
            found = set(other.findall(file.read_text("utf-8")))
            assert found <= {owner_and_name}, file.name


def test_every_reference_is_cited_or_listed():
    keys = re.findall(r"^@\w+\{(\w+),", read("book/references.bib"), re.M)
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[a-z]+(19|20)\d\d", key) for key in keys)


# Read by every Python at its start: a line for each socket that asks someone.
WATCH = """
import sys
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        with open({path!r}, "a") as file:
            print(event, args[-1], sys.argv[:1], file=file)
sys.addaudithook(note)
"""
ASK = """
import socket
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1).close()
except OSError:
    pass
"""


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The file in which a watched Python notes whom it asked."""
    folder = tmp_path_factory.mktemp("watch")
    file = folder / "asked.txt"
    (folder / "sitecustomize.py").write_text(WATCH.format(path=str(file)))
    return file


@pytest.fixture(scope="module")
def site(tmp_path_factory, asked):
    """Build the book once, with warnings as errors, and watch it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(asked.parent), prepend=os.pathsep)
        return book_tool.build(tmp_path_factory.mktemp("book")).parent


def test_the_build_asks_nobody(site, asked):
    assert (site / "index.html").exists()
    assert not asked.exists(), asked.read_text()
    environment = {**os.environ, "PYTHONPATH": str(asked.parent)}
    command = [sys.executable, "-c", ASK]
    subprocess.run(command, env=environment, check=True)
    assert "socket.connect" in asked.read_text()  # else nothing was watched


def test_site_has_no_broken_link_and_loads_nothing_from_elsewhere(site):
    found = pages.faults(site)
    assert not found, "\n".join(found)


def test_pages_run_what_their_policy_names_and_links_say_where_they_lead(site):
    found = {*site.rglob("*.html")} - {*site.glob("_static/*")}
    for file in found - {site / "index.html"}:  # which only leads on
        html = file.read_text()
        assert html.count('"Content-Security-Policy"') == 1, file
        assert not re.search(r"<[^>]*\son[a-z]+=", html), file
        links = re.findall(r'<a\s[^>]*href="https?:[^>]*>', html)
        assert links, file
        assert all("external noopener" in link for link in links), file


def test_site_shows_formulas_by_its_own_katex(site):
    katex = site / "_static" / "katex"
    fonts = re.findall(r"url\((.*?)\)", (katex / "katex.min.css").read_text())
    assert len(fonts) == 20
    held = [font for font in fonts if font.startswith("data:font/woff2")]
    assert len(held) >= 8  # what pages need does not arrive late
    assert all((katex / font).exists() for font in {*fonts} - {*held})
    assert not list(katex.glob("*.js"))
    assert "<math xmlns" in (site / "book" / "notation.html").read_text()
    notation = pages.Page(site / "book" / "notation.html")
    assert notation.formulas > 40
    for path in CHAPTERS:
        nb = nbformat.read(path, as_version=4)
        text = "".join(c.source for c in nb.cells if c.cell_type == "markdown")
        page = pages.Page(site / "notebooks" / f"{path.stem}.html")
        assert bool(page.formulas) == ("$" in text), path.stem


def test_site_has_a_colab_button_for_every_chapter(site):
    for path in CHAPTERS:
        html = (site / "notebooks" / f"{path.stem}.html").read_text("utf-8")
        assert f"{COLAB}/blob/main/notebooks/{path.name}" in html


GOOD = """<html><head><script src="katex/tex.js"></script>
<link rel="canonical" href="https://example.org/a.html">
<link rel="stylesheet" href="a.css"></head>
<body><h1 id="top">A</h1><a href="b.html#there">b</a> <a href="#top">up</a>
<a href="https://example.org/">out</a> <span class="math">\\(\\frac12\\)</span>
<img src="p.png" alt="Nine patches in three rows."></body></html>"""


@pytest.fixture
def small_site(tmp_path):
    """Make two pages without a fault."""
    (tmp_path / "a.html").write_text(GOOD)
    (tmp_path / "b.html").write_text('<p id="there">b</p>')
    (tmp_path / "a.css").write_text("p { background: url('p.png') }")
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "katex").mkdir()
    (tmp_path / "katex" / "tex.js").write_text("")
    return tmp_path


def test_small_site_has_no_fault(small_site):
    assert pages.faults(small_site) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("b.html#there", "c.html", "c.html leads to no file"),
        ("b.html#there", "b.html#gone", "b.html#gone leads to no such place"),
        ("#top", "#gone", "#gone leads to no such place"),
        ("p.png", "q.png", "q.png leads to no file"),
        ("p.png", "https://example.org/p.png", "from another host"),
        ("p.png", "//example.org/p.png", "from another host"),
        ("katex/tex.js", "https://example.org/tex.js", "from another host"),
        ('"a.css"', '"https://example.org/a.css"', "from another host"),
        ("katex/tex.js", "b.html", "no KaTeX to show them"),
        ('class="math"', 'class="x"', "TeX that is no formula"),
        ("Nine patches in three rows.", "", "has the alt text ''"),
        ("Nine patches in three rows.", "images/0a1b2c.png", "has the alt"),
        ("<body>", "<body style='background:url(//x.org/i)'>", "another host"),
        ("<body>", "<style>@import 'http://x.org/s.css'</style>", "another"),
        ("<body>", "<body><iframe src='https://x.org'></iframe>", "another"),
    ],
)
def test_a_fault_of_a_page_is_noticed(small_site, old, new, words):
    assert old in GOOD
    (small_site / "a.html").write_text(GOOD.replace(old, new))
    assert any(words in found for found in pages.faults(small_site))


@pytest.mark.parametrize(
    ("style", "words"),
    [
        ("@import 'https://x.org/a.css';", "from another host"),
        ("p { background: url(https://x.org/i.png) }", "from another host"),
        ("p { background: url(gone.png) }", "leads to no file"),
    ],
)
def test_a_fault_of_a_style_sheet_is_noticed(small_site, style, words):
    (small_site / "a.css").write_text(style)
    assert any(words in found for found in pages.faults(small_site))


def test_a_warning_fails_the_build(tmp_path, monkeypatch, capfd):
    (tmp_path / "_config.yml").write_text("title: x\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: a\n")
    (tmp_path / "a.md").write_text("# A\n\n[x](nowhere.md)\n")
    monkeypatch.setattr(book_tool, "ROOT", tmp_path)
    with pytest.raises(book_tool.subprocess.CalledProcessError):
        book_tool.build(tmp_path / "out")
    assert "nowhere.md" in capfd.readouterr().err
