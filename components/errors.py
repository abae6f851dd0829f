"""Faults of the user's input, as opposed to faults of the program."""

from __future__ import annotations


class PipelineInputError(Exception):
    """The data or the settings do not allow the run to go on.

    The message is for the person at the terminal: what is wrong, where, and what to do about it.
    """
