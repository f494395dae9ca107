"""What several test modules share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root():
    """The repository's folder."""
    return ROOT


def pytest_report_header():
    """Say at once which PyTorch is tested, and with how many threads."""
    import torch

    threads = torch.get_num_threads()
    return f"torch {torch.__version__}, {threads} threads"
