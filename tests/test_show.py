"""vitlib.show: source code in a cell's output."""

import inspect

from vitlib import patchify, source, unpatchify


def test_source_is_the_code_itself_as_markdown():
    shown = source(patchify, unpatchify)
    code = inspect.getsource(patchify) + "\n\n" + inspect.getsource(unpatchify)
    assert shown._repr_markdown_() == f"```python\n{code}```"
    assert repr(shown) == code
