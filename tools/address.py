"""Write the repository's address into every file that repeats it.

    python tools/address.py

The one place of the address is `repository.url` in `_config.yml`. The files
that repeat it are the notebooks (first code cell, links), README.md (Colab
links), the preface, pyproject.toml and CITATION.cff; they hold the one
that was written last, which is the one of pyproject.toml.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OWNER_NAME = r"https://github\.com/([\w.-]+/[\w.-]+)"
CLONED = "git clone https://github.com/{}\ncd {}\n"  # in the preface


def wanted(root: Path) -> str:
    """Return `owner/name` of the address in `_config.yml`.

    Raises:
        ValueError: if that is no address of a repository on GitHub, which
            is where Colab opens notebooks from.
    """
    text = (root / "_config.yml").read_text(encoding="utf-8")
    url = re.search(r"^  url: (\S+)$", text, re.MULTILINE).group(1)
    if not (found := re.fullmatch(OWNER_NAME, url)) or url.endswith(".git"):
        raise ValueError(
            f"repository.url in _config.yml is {url}; it must have the form "
            "https://github.com/owner/name"
        )
    return found.group(1)


def written(root: Path) -> str:
    """Return the `owner/name` that the files hold."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(rf'^Repository = "{OWNER_NAME}"$', text, re.M).group(1)


def tracked(root: Path) -> list[Path]:
    """Return the files that git knows, without pictures and other bytes."""
    command = ["git", "grep", "-zIl", "", "--", ".", ":(exclude)_config.yml"]
    output = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=True
    ).stdout
    return [root / name for name in output.split("\0") if name]


def rewrite(root: Path) -> list[Path]:
    """Replace the address that was written last; return what changed."""
    new, old = wanted(root), written(root)
    changed = []
    for file in tracked(root) if new != old else []:
        text = file.read_bytes().decode("utf-8")
        result = text.replace(
            CLONED.format(old, old.split("/")[1]),
            CLONED.format(new, new.split("/")[1]),
        )
        result = re.sub(rf"(?<![\w.-]){re.escape(old)}(?![\w-])", new, result)
        if result != text:
            file.write_bytes(result.encode("utf-8"))
            changed.append(file)
    return changed


def main() -> int:
    """Rewrite, and say what was done."""
    try:
        changed = rewrite(ROOT)
    except ValueError as error:
        print(error)
        return 1
    for file in changed:
        print(file.relative_to(ROOT))
    print(f"{wanted(ROOT)}: written into {len(changed)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
