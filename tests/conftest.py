"""What all tests share: a progress file of their own, and figures compared by value."""
import copy
import os
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
SCRATCH = Path(tempfile.mkdtemp(prefix="course-tests-"))
os.environ["COURSE_PROGRESS"] = str(SCRATCH / "progress.json")

from figures import close  # noqa: E402
from utils import data, store  # noqa: E402
from utils.show import PLOTLY  # noqa: E402


def compare_figures_by_value():
    """Let nbval take a figure that is close to the committed one for that one."""
    from nbval.plugin import IPyNbCell
    compare = IPyNbCell.compare_outputs

    def compare_outputs(self, test, ref, skip_compare=None):
        test = copy.deepcopy(test)
        for new, old in zip(test, ref):
            figure, committed = (o.get("data", {}).get(PLOTLY) for o in (new, old))
            if figure and committed and close(figure, committed):
                new["data"][PLOTLY] = committed
        return compare(self, test, ref, skip_compare)

    IPyNbCell.compare_outputs = compare_outputs


compare_figures_by_value()


@pytest.fixture
def progress_file(tmp_path, monkeypatch):
    """An empty progress file for one test; returns its path."""
    path = tmp_path / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


@pytest.fixture(scope="session")
def wheels():
    """Fetches what a test of real data needs; without a network it skips, but never in CI."""
    lacking = store.fetch_missing(list(data.SOURCES.values()))
    if lacking:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no network for {lacking}")
