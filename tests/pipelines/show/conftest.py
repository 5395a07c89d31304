import pytest

from tests.drawn import PNG
from ulmo.pipelines.show import show as module


@pytest.fixture
def figures(monkeypatch):
    """Figures, kept in place of being made into PNG."""
    kept = []
    monkeypatch.setattr(module, "to_png", lambda figure: kept.append(figure) or PNG)
    return kept
