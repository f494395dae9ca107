"""What looks at the pages sees every kind of fault: a page has them all."""

import pytest
from built import served

PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head>
<title>Faults</title><link rel="stylesheet" href="heavy.css">
<style>@font-face { font-family: late; src: url(late.woff2); }
b { font-family: late; } a { outline: none; }
p { color: #ddd; }</style></head><body>
<dialog id="pst-search-dialog"><input></dialog>
<main><article id="top"><h1>Faults</h1>
<p>Too pale <a href="#top">and not marked</a> <button tabindex="-1">x</button>
<img src="http://127.0.0.1:9/away.png" alt="From elsewhere">
<span class="math"><span class="katex"><b class="katex-error">x</b></span>
</span></p><div style="width: 1500px">wide</div></article></main>
<script>setTimeout(() => document.getElementById("top").style.marginTop =
"400px", 150);</script></body></html>"""
SOUND = """<!DOCTYPE html><html lang="en"><head><title>Sound</title>
<link rel="icon" href="data:,"></head><body>
<dialog id="pst-search-dialog" aria-label="Search">
<input name="q" aria-label="Words"></dialog>
<main><article><h1 id="top">Sound</h1><p><a href="#top">Up</a>
<img src="p.svg" alt="A box" loading="lazy" width="9" height="9"></p>
</article></main><script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const show = () => {
  document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; };
dark.addEventListener("change", show);
show();
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey && event.key === "k") {
    event.preventDefault();
    document.querySelector("dialog").showModal();
  }
});</script></body></html>"""


@pytest.fixture
def looked_at(browser, tmp_path, monkeypatch):
    """Return a function that looks at one page and returns the faults."""
    looking = pytest.importorskip("looking")
    monkeypatch.setattr(looking, "THEME_WAIT", 500)
    monkeypatch.setattr(looking, "TRIES", 2)
    (tmp_path / "heavy.css").write_text("/*" + "x" * looking.MAX_BYTES + "*/")
    (tmp_path / "p.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg"/>'
    )

    def look_at(html, max_paint):
        monkeypatch.setattr(looking, "MAX_PAINT", max_paint)
        (tmp_path / "a.html").write_text(html)
        with served(tmp_path) as address:
            addresses = {"http": address, "file": tmp_path.as_uri()}
            look = looking.Look(browser, addresses, "a.html")
            look.look()
        return {kind: found for kind, found in look.faults.items() if found}

    return look_at


def test_every_kind_of_fault_is_seen(looked_at):
    found = looked_at(PAGE, max_paint=0)
    assert set(found) == set(pytest.importorskip("looking").KINDS)
    assert all(
        "a.html (" in line for lines in found.values() for line in lines
    )


def test_a_sound_page_has_no_fault(looked_at):
    assert looked_at(SOUND, max_paint=60_000) == {}
