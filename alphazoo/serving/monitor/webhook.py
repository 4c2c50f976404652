"""Posts alarms to a webhook, whose address is in an environment variable; it is never fatal."""

import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from alphazoo.files import plain

log = logging.getLogger(__name__)

VARIABLE = "ALPHAZOO_WEBHOOK"
TIMEOUT = 10.0  # seconds


def notify(summary: Mapping[str, Any]) -> bool:
    """Post a summary as JSON; return whether the server accepted it.

    Without the variable `VARIABLE`, nothing is sent. A failure is a warning, which names the host
    alone, because addresses of webhooks are secret.
    """
    address = os.environ.get(VARIABLE, "")
    if not address:
        return False
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://... or https://...")
        body = json.dumps(plain(summary), allow_nan=False).encode()
        request = urllib.request.Request(
            address, data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return True
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        said = " ".join(str(reason).replace(address, "the address").split())
        host = urlsplit(address).hostname if "//" in address else None
        log.warning("the webhook %s was not notified: %s", host or f"in {VARIABLE}", said)
        return False
