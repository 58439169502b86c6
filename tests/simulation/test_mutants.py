"""The mutants are still of this code: that each is noticed, ``python -m tests.simulation.mutants`` shows."""

from pathlib import Path

import pytest

from .mutants import MUTANTS, ROOT, SOURCE, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_breaks_what_is_there(mutant: Mutant) -> None:
    """Each text that a mutant changes stands once in the source, and with all changes made it is still Python."""
    for file, text in mutant.made_of(ROOT / SOURCE).items():
        compile(text, file, "exec")


def test_it_is_told_what_noticed_each_mutant() -> None:
    """The table of the README has a row for each mutant, and none for another."""
    lines = Path(__file__).with_name("README.md").read_text().splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert rows[1:] == [mutant.name for mutant in MUTANTS]
