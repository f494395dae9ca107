"""The last pass over the built site: smaller, and the same to look at."""

import pytest
from PIL import Image

light_pages = pytest.importorskip("light_pages")

DIAGRAM = """<?xml version="1.0"?>
<svg class="vit-diagram" role="img" aria-labelledby="title">
<title id="title">One block</title><marker id="tip"/>
<path marker-end="url(#tip)"/><use href="#tip"/></svg>"""
PAGE = """<html><head>
<script defer src="_static/scripts/fontawesome.js?digest=1"></script>
<script src="_static/searchtools.js"></script>
<script src="searchindex.js"></script>
<script src="_static/a11y.js"></script></head>
<script>t = localStorage.getItem("theme") || "auto"</script>
<body class="used"><img src="logo.svg"><article>
<img alt="A dog" src="a.png"/><img src="d.svg" alt="D">
<img alt="Styled" src="a.png" style="width: 50%"><img src="d.svg" alt="D">
</article></body></html>"""


@pytest.fixture
def site(tmp_path):
    """Make a page with pictures."""
    (tmp_path / "a.html").write_text(PAGE)
    (tmp_path / "search.html").write_text(PAGE)
    (tmp_path / "d.svg").write_text(DIAGRAM)
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    return tmp_path


def lightened(page):
    """Return a page's text after the pass."""
    light_pages.lighten(page)
    return page.read_text()


def test_pictures_get_their_size_and_load_late(site):
    html = lightened(site / "a.html")
    assert 'loading="lazy" decoding="async" width="30" height="20"' in html
    assert html.count('width="') == 1  # the styled one keeps its style
    assert html.count('loading="lazy"') == 2
    assert lightened(site / "a.html") == html


def test_a_diagram_becomes_part_of_the_page(site):
    html = lightened(site / "a.html")
    assert html.count("<svg class") == 2
    assert "d.svg" not in html
    assert "<?xml" not in html
    # each with its own names, which its own references follow
    for number in (1, 3):
        for part in (
            f'aria-labelledby="d{number}-title"',
            f'<title id="d{number}-title">',
            f'<marker id="d{number}-tip"/>',
            f"url(#d{number}-tip)",
            f'href="#d{number}-tip"',
        ):
            assert html.count(part) == 1, part


def test_a_diagram_without_a_name_gets_the_pictures_words(site):
    (site / "d.svg").write_text('<svg class="vit-diagram"><g/></svg>')
    html = lightened(site / "a.html")
    assert '<svg role="img" aria-label="D" class="vit-diagram">' in html


def test_the_theme_is_known_from_the_start(site):
    html = lightened(site / "a.html")
    assert "auto" not in html
    assert 'matches ? "dark" : "light")</script>' in html


def test_only_the_search_page_loads_the_index(site):
    assert "searchindex.js" in lightened(site / "search.html")
    html = lightened(site / "a.html")
    assert "searchindex" not in html
    assert "searchtools" not in html
    assert "fontawesome" not in html
    assert "a11y.js" in html


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        ("p{a:b}", "p{a:b}"),
        (".used,.gone{a:b}", ".used{a:b}"),
        (".used .gone{a:b}", ""),
        ("#gone{a:b}p{a:b}", "p{a:b}"),
        (".used:not(.gone){a:b}", ".used:not(.gone){a:b}"),
        ("p:is(.gone,.used){a:b}", "p:is(.gone,.used){a:b}"),
        (".sd\\:x{a:b}", ".sd\\:x{a:b}"),
        ("@media print{.gone{a:b}}p{a:b}", "p{a:b}"),
        ("@media print{.used{a:b}}", "@media print{.used{a:b}}"),
        ("@keyframes x{0%{a:b}to{a:c}}", "@keyframes x{0%{a:b}to{a:c}}"),
        ('@import "b.css";p{a:b}', '@import "b.css";p{a:b}'),
        ('@import "b.css";', '@import "b.css";'),
    ],
)
def test_a_style_sheet_keeps_what_pages_use(css, kept):
    assert light_pages.used_rules(css, {"used", "sd:x"}) == kept


def test_the_book_keeps_its_own_style_whole(site, tmp_path):
    own = tmp_path / "own"
    for folder in (own, site / "_static"):
        folder.mkdir()
        (folder / "custom.css").write_text(".gone{a:b}")
    (site / "_static" / "theme.css").write_text(".gone{a:b}.used{a:b}")
    light_pages.lighten_styles(site, own)
    assert (site / "_static" / "custom.css").read_text() == ".gone{a:b}"
    assert (site / "_static" / "theme.css").read_text() == ".used{a:b}"
