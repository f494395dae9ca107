"""What holds for every call of pytest in this project."""

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    """Let no failure be expected.

    After a cell that ran out of time nbval expects the rest of a notebook to
    fail, and pytest then ends well whatever the rest does. A training cell
    would even pass itself: it takes nbval's interrupt for a wish to stop.
    """
    report = yield
    if hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: {report.wasxfail}"
        del report.wasxfail
    return report
