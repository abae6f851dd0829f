"""Tells somebody who does not sit at the terminal how a run ended."""

from __future__ import annotations

import logging
import os
from threading import Thread
from typing import Any

import httpx

VARIABLE = "DEEPMUSIC_WEBHOOK"
"""The environment's variable with the address. Who knows it may write there, so it is shown nowhere."""

_WAIT_SECONDS = 10

# It logs every address.
logging.getLogger("httpx").setLevel(logging.WARNING)


def tell(message: dict[str, Any]) -> str | None:
    """Posts a message as JSON to the webhook, if the environment names one; never raises and never waits long.

    Args:
        message: with a ``text``, as chat services take it.

    Returns:
        Why the message did not arrive, a line without the address; None if it did, or if there is no webhook.
    """
    address = os.environ.get(VARIABLE)
    if not address:
        return None
    answer: list[str | None] = []
    # A server that answers byte by byte would outlast the time limit of each of its parts.
    thread = Thread(target=lambda: answer.append(_post(address, message)), daemon=True)
    thread.start()
    thread.join(_WAIT_SECONDS)
    reason = answer[0] if answer else f"it did not answer within {_WAIT_SECONDS} seconds"
    return f"The webhook in {VARIABLE} was not told: {reason}." if reason else None


def _post(address: str, message: dict[str, Any]) -> str | None:
    try:
        answer = httpx.post(address, json=message, timeout=_WAIT_SECONDS)
    except Exception as error:  # Whatever is wrong with it, the run's result stays. The error's text has the address.
        return f"it cannot be reached ({type(error).__name__})"
    return None if answer.is_success else f"it answers with the status {answer.status_code}"
