"""The list of mutants fits the code: see ``tests/mutants/run.py``, which applies them."""

import re
from pathlib import Path

import pytest
from mutants.run import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


def test_mutants_have_names_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 100


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_can_be_applied_and_has_tests(mutant: Mutant) -> None:
    changed = mutant.apply((ROOT / "alphazoo" / mutant.file).read_text(encoding="utf-8"))
    compile(changed, mutant.file, "exec")
    assert mutant.old != mutant.new
    for test in mutant.tests:
        name, _, node = test.partition("::")
        text = (Path(__file__).parent / name).read_text(encoding="utf-8")
        function = node.partition("[")[0]
        assert not node or re.search(rf"^def {function}\(", text, re.MULTILINE)
