"""The workflows on GitHub: least rights, and actions that cannot move."""

import re
import subprocess
import sys
from pathlib import Path

import colab
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
# What a job may do beyond reading the repository, and why.
RIGHTS = {
    ("publish", "deploy"): {"pages": "write", "id-token": "write"},
    ("colab", "report"): {"issues": "write"},  # says that a chapter fails
    ("release", "attach"): {"contents": "write"},  # adds files to a release
}
PINNED = re.compile(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def path(request):
    """One workflow."""
    return request.param


@pytest.fixture
def text(path):
    """The text of one workflow."""
    return path.read_text("utf-8")


def schema_says(schema, *files):
    """Validate by the schema that its publisher gives."""
    command = [sys.executable, "-m", "check_jsonschema"]
    command += ["--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run(
        [*command, *files], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_there_are_workflows():
    names = {path.stem for path in WORKFLOWS}
    assert names == {"ci", "colab", "publish", "release"}


def test_workflows_are_valid():
    status, said = schema_says("github-workflows", *WORKFLOWS)
    assert status == 0, said


def test_an_invalid_workflow_is_noticed(tmp_path):
    text = (ROOT / ".github/workflows/colab.yml").read_text("utf-8")
    bad = tmp_path / "colab.yml"
    bad.write_text(text.replace("timeout-minutes: 90", "timeout-minute: 90"))
    status, said = schema_says("github-workflows", bad)
    assert status == 1
    assert "timeout-minute" in said


def test_updates_of_dependencies_are_valid():
    status, said = schema_says("dependabot", DEPENDABOT)
    assert status == 0, said


def test_actions_are_pinned_by_hash(text):
    lines = [line.strip() for line in text.splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.search(line)] == []


def test_rights_are_the_least(path, text):
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"}
    for name, job in flow["jobs"].items():
        assert job.get("permissions") == RIGHTS.get((path.stem, name))
        assert job["timeout-minutes"] <= 90


def test_every_right_is_one_of_a_job():
    jobs = {
        (path.stem, name)
        for path in WORKFLOWS
        for name in yaml.safe_load(path.read_text("utf-8"))["jobs"]
    }
    assert set(RIGHTS) <= jobs


def test_what_others_write_runs_in_no_shell(text):
    flow = yaml.safe_load(text)
    for job in flow["jobs"].values():
        for step in job["steps"]:
            # an expression in a script is text that its author chose
            script = step.get("run", "")
            found = re.findall(r"\$\{\{\s*([\w.]+)", script)
            assert set(found) <= {"matrix.packages"}


def test_a_checkout_leaves_no_token_behind(text):
    flow = yaml.safe_load(text)
    for job in flow["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_commands_and_files_exist(text):
    plain = re.sub(r"\$\{\{.*?\}\}", "", text)
    lines = re.findall(r"run: make (.+)", plain)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in " ".join(lines).split():
        assert "=" in target or re.search(rf"^{target}:", makefile, re.M)
    for file in re.findall(r"(?:\btools|\.ci)/[\w.]+|[\w-]+\.lock", plain):
        assert (ROOT / file).exists(), file


def test_the_check_rehearses_colab():
    flow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    pythons = flow["jobs"]["check"]["steps"][1]["with"]["python-version"]
    assert pythons.split() == [colab.PYTHON, "3.11"]  # the last is `python`


def test_colab_has_the_nbval_of_the_book():
    (named,) = re.findall(
        r"install --quiet (nbval==\S+);",
        (ROOT / ".github/workflows/colab.yml").read_text("utf-8"),
    )
    pins = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    assert named in pins
