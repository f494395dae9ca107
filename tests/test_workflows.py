"""The workflows on GitHub: least rights, and actions that cannot move."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def text(request):
    """The text of one workflow."""
    return request.param.read_text("utf-8")


def test_there_are_workflows():
    assert {path.stem for path in WORKFLOWS} >= {"ci", "publish"}


def test_actions_are_pinned_by_hash(text):
    lines = [line.strip() for line in text.splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.search(line)] == []


def test_rights_are_the_least(text):
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"}
    for name, job in flow["jobs"].items():
        extra = set(job.get("permissions", {})) - {"contents"}
        assert not extra or name in {"deploy", "report"}
        assert job["timeout-minutes"] <= 90


def test_a_checkout_leaves_no_token_behind(text):
    flow = yaml.safe_load(text)
    for job in flow["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_commands_exist(text):
    targets = re.findall(r"make (\w+)", text)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
