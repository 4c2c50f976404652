"""Figures of names with any letter or sign."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from conftest import small_frame

from alphazoo.evaluation import drawing
from alphazoo.evaluation.drawing import COLORS, draw, to_png, to_svg
from alphazoo.evaluation.figures import _concepts
from alphazoo.market.concept_table import read_concepts
from alphazoo.market.market import Market

NAMES = ["$x^$", "a_{b", "<b>&amp;", "back\\slash", "100%", "_hidden", "{0}", "电力", "😀"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(name: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"ic": [0.1, 0.2], "stocks": 9, "days": 9}, index=[name, "other"])
    figure = draw(_concepts, table)
    svg = to_svg(figure, COLORS)
    texts = [element.text for element in ElementTree.fromstring(svg).iter() if element.text]
    assert name in {text.strip() for text in texts}
    to_png(figure, tmp_path / "concepts.png")
    assert (tmp_path / "concepts.png").stat().st_size > 1000


def test_letters_that_no_font_has_are_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawing._warn_of_letters.cache_clear()
    monkeypatch.setattr(drawing, "_fonts", lambda: ["sans-serif"])
    for name in ("电力", "银行"):
        figure = draw(lambda axes, title: axes.set_title(title), name)
        to_png(figure, tmp_path / "figure.png")
    assert caplog.text.count("no installed font has all letters") == 1
    drawing._warn_of_letters.cache_clear()


def test_control_characters_of_a_concept_are_escaped() -> None:
    market = Market.from_table(small_frame(n_stocks=4))
    members = pd.DataFrame({"symbol": market.symbols, "concept": ["a\nb", "c\x00d", "e\x1bf", "g"]})
    assert read_concepts(market, [], table=members).names == ("a\\nb", "c\\x00d", "e\\x1bf", "g")
