"""Compare the data of an earlier result with the current data; changed data are refused."""

import logging
from collections.abc import Mapping
from typing import Any

from alphazoo.errors import InputError
from alphazoo.market.fingerprint import CHANGED, GROWN, UNKNOWN, Difference, Fingerprint

log = logging.getLogger(__name__)


NEW_FOLDER = "use a new folder to train on the current data"


def check_data(
    record: Mapping[str, Any],
    now: Fingerprint,
    what: str,
    *,
    remedy: str = NEW_FOLDER,
    shared_only: bool = False,
) -> Difference:
    """Check that the data of an earlier result have not changed; they may have grown.

    Args:
        record: Record of the earlier data, see `alphazoo.market.fingerprint.Fingerprint.record`. A
            record of an old version without digests cannot be compared; a warning says so.
        now: The current data.
        what: The earlier result, for messages.
        remedy: What to do if the data have changed, for the error message.
        shared_only: Leave out what only one of the two has, such as indices.

    Returns:
        The difference; its kind is not `CHANGED`.

    Raises:
        InputError: The data have changed.
    """
    found = now.compare(record, shared_only=shared_only)
    if found.kind == CHANGED:
        raise InputError(
            f"{what} was made on other data: in market {now.market.name!r} {found.what}; {remedy}"
        )
    if found.kind == UNKNOWN:
        log.warning("%s does not record its data, so they are not compared", what)
    if found.kind == GROWN:
        end = f"{now.market.dates[-1]:%Y-%m-%d}"
        log.info("%s: the data have grown since, from %s to %s", what, found.last, end)
    return found
