"""stub"""

from collections.abc import Sequence

from alphazoo.explain.explanation import Part
from alphazoo.explain.subject import Subject
from alphazoo.runs.run import Run


def check(subject: Subject, parts: Sequence[Part], seeds: Sequence[Run]) -> Part:
    return Part("Checks")
