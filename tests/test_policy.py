"""What a page may run and load, and what its links say."""

import base64
import hashlib
import re

import pytest

policy = pytest.importorskip("policy")

PAGE = """<html><head>
<meta charset="utf-8" />
<script src="_static/a11y.js"></script>
<script>let hint = 'Click to show';</script></head><body>
<style>p { margin: 0 }</style>
<button onclick="toggleFullScreen()" class="f">x</button>
<button onclick="window.print()">y</button>
<a class="inside" href="a.html">a</a> <a href="https://arxiv.org">b</a>
<a
  href="https://github.com" target="_blank" rel="noopener nofollow">c</a>
<script>let hint = 'Click to show';</script></body></html>"""


def digest(text):
    """Return the source that allows a text, by the standard's own words."""
    found = base64.b64encode(hashlib.sha256(text.encode()).digest())
    return f"'sha256-{found.decode()}'"


def rules(html):
    """Return a page's policy: the sources of each directive."""
    meta = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    return {
        name: sources for name, *sources in map(str.split, meta[1].split("; "))
    }


def test_the_policy_allows_what_stands_in_the_page_alone():
    html = policy.guarded(PAGE)
    found = rules(html)
    assert found["default-src"] == ["'none'"]
    script = digest("let hint = 'Click to show';")
    assert found["script-src"] == ["'self'", script]
    assert found["style-src"] == ["'self'", digest("p { margin: 0 }")]
    assert not {"'unsafe-eval'", "'unsafe-inline'"} & {
        *found["script-src"],
        *found["style-src"],
    }
    assert html.index("Content-Security-Policy") < html.index("<script")


def test_no_attribute_acts_and_an_unknown_one_is_left_to_be_seen():
    assert "onclick" not in policy.guarded(PAGE)
    assert 'class="f"' in policy.guarded(PAGE)
    other = PAGE.replace("window.print()", "other()")
    assert 'onclick="other()"' in policy.guarded(other)


def test_links_to_other_sites_say_so():
    html = policy.guarded(PAGE)
    assert '<a class="inside" href="a.html">' in html
    assert '<a href="https://arxiv.org" rel="external noopener">' in html
    assert html.count('rel="') == 2
    assert 'target="_blank" rel="noopener nofollow external">' in html
