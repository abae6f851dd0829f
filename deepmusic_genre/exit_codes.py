"""What a command's process ends with; one that somebody stopped with 128 and the signal's number."""

from __future__ import annotations

OK = 0
"""The command did what it was asked for."""

FAULT = 1
"""The settings, the data or a fault stopped it, or it came to nothing: no track was tagged, no answer was printed."""

USAGE = 2
"""The command line is wrong."""

GATE = 3
"""A gate kept the model from being pushed: AnomalyGate, ModelValidator or ModelCheck; or ``drift`` found some."""

INCOMPLETE = 75
"""A crawl could not get everything now, and the same command can later; the number is EX_TEMPFAIL of sysexits.h."""
