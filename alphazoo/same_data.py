"""Whether a result was made on the data of now: what changed is refused, what grew is extended."""

import logging
from collections.abc import Mapping
from typing import Any

from alphazoo.data.fingerprint import CHANGED, GROWN, UNKNOWN, Difference, Fingerprint
from alphazoo.errors import InputError

log = logging.getLogger(__name__)


ANEW = "take a new folder to train on the data of now"


def check_data(
    record: Mapping[str, Any], now: Fingerprint, what: str, *, remedy: str = ANEW
) -> Difference:
    """Compare the data of now with those that something was made on.

    Args:
        record: Of those, see `alphazoo.data.fingerprint.Fingerprint.record`; one without digests,
            of an earlier version, cannot be compared, which is a warning.
        now: The data of now.
        what: What was made on them, for messages.
        remedy: What to do where they have changed, likewise.

    Returns:
        The difference, which is not a change.

    Raises:
        InputError: The data have changed.
    """
    found = now.compare(record)
    if found.kind == CHANGED:
        raise InputError(
            f"{what} was made on other data: in market {now.market.name!r} {found.what}; {remedy}"
        )
    if found.kind == UNKNOWN:
        log.warning("%s does not say which data it was made on: they are not compared", what)
    if found.kind == GROWN:
        end = f"{now.market.dates[-1]:%Y-%m-%d}"
        log.info("%s: the data have grown since, from %s to %s", what, found.last, end)
    return found
