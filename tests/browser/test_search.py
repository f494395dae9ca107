"""The search finds what a reader would type, over http and from a file."""

import re
from urllib.parse import quote

import pytest
from built import PAGES

pytestmark = pytest.mark.skipif(
    "search.html" not in PAGES, reason="VIT_PAGES leaves the search out"
)

FIRST = 3  # pages among which the right one must be

# What a reader types, and the page that must be among the first. Some are
# in the index, book/index.yml, and some are found by the text alone.
QUERIES = {
    "patch embedding": "02_patches",
    "patchify": "02_patches",
    "convolution stride": "02_patches",
    "inductive bias": "01_end_of_cnn",
    "class token": "03_class_token",
    "cls token": "03_class_token",
    "[CLS]": "03_class_token",
    "global average pooling": "03_class_token",
    "position embedding": "04_position_embeddings",
    "position embedding interpolation": "04_position_embeddings",
    "sinusoidal": "04_position_embeddings",
    "How do I use another image size?": "04_position_embeddings",
    "why divide by sqrt d": "05_attention",
    "square root of d": "05_attention",
    "multi-head attention": "05_attention",
    "what does softmax do": "05_attention",
    "LayerNorm": "06_encoder",
    "layer normalization": "06_encoder",
    "GELU": "06_encoder",
    "drop path": "06_encoder",
    "skip connection": "06_encoder",
    "number of parameters": "07_vision_transformer",
    "flops": "07_vision_transformer",
    "warmup": "08_training",
    "data augmentation": "08_training",
    "checkpoint resume": "08_training",
    "overfitting": "09_clinic",
    "Why does my ViT not learn?": "09_clinic",
    "loss not decreasing": "09_clinic",
    "mixed precision bf16": "10_scaling",
    "out of memory": "10_scaling",
    "gradient accumulation": "10_scaling",
    "Colab": "11_pretrained",
    "DINOv2": "11_pretrained",
    "transfer learning": "11_pretrained",
    "pca": "12_filters",
    "sinusoid": "13_position_similarity",
    "cosine similarity": "13_position_similarity",
    "mean attention distance": "14_attention_distance",
    "attention rollout": "15_rollout",
    "saliency map": "16_trust",
    "notation": "notation",
    "패치": "glossary",
    "Dosovitskiy": "bibliography",
}


def results(page, site, query):
    """Search, and return where the results lead, best first."""
    page.goto(f"{site}/search.html?q={quote(query)}")
    page.locator(".search-summary", has_text=re.compile(r"\S")).wait_for()
    return page.eval_on_selector_all(
        "ul.search li > a", "links => links.map(link => link.href)"
    )


def pages(links):
    """Return the names of the pages that results lead to, each once."""
    names = [link.split("#")[0].rsplit("/")[-1] for link in links]
    return list(dict.fromkeys(name.removesuffix(".html") for name in names))


@pytest.mark.parametrize("over", ["file", "http"])
def test_readers_find_the_page(open_page, addresses, over):
    page = open_page("search.html", over=over)
    found = {
        query: pages(results(page, addresses[over], query))[:FIRST]
        for query in QUERIES
    }
    assert {
        query: found[query]
        for query, right in QUERIES.items()
        if right not in found[query]
    } == {}


def test_an_unknown_word_finds_nothing(open_page, addresses):
    page = open_page("search.html", over="file")
    assert results(page, addresses["file"], "xylophone") == []


def test_from_the_keyboard_to_the_section(open_page):
    page = open_page("notebooks/12_filters.html", over="file")
    page.keyboard.press("Control+k")
    page.keyboard.type("why divide by sqrt d")
    page.keyboard.press("Enter")
    page.locator("ul.search li > a").first.click()
    section = "why-divide-by-the-square-root-of-d"
    page.wait_for_url(f"**/05_attention.html*#{section}")
    heading = page.locator(f"#{section} > h2")
    assert heading.inner_text().startswith("Why divide by the square root")
    heading.wait_for()
    assert 0 <= heading.bounding_box()["y"] < page.viewport_size["height"]


def test_a_result_shows_its_text_where_pages_may_be_read(open_page):
    page = open_page("search.html?q=gelu", over="http")
    page.locator("ul.search p.context").first.wait_for()
    shown = page.locator("ul.search p.context").all_inner_texts()
    assert any("gelu" in text.lower() for text in shown)
    # From the file system the browser forbids it, so it is not tried.
    page = open_page("search.html?q=gelu", over="file")
    page.locator("ul.search li > a").first.wait_for()
    assert page.locator("ul.search p.context").count() == 0


def test_the_index_lists_its_terms(open_page):
    page = open_page("genindex.html", over="file")
    shown = set(page.locator("table.indextable a").all_inner_texts())
    assert {"class token", "drop path", "warmup"} <= shown
