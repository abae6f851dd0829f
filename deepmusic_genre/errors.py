"""What stops a run: faults of the user's input, and components that failed."""

from __future__ import annotations


class PipelineInputError(Exception):
    """The data or the settings do not allow the run to go on.

    The message is for the person at the terminal: what is wrong, where, and what to do about it.
    """


class ComponentFailed(Exception):
    """A component did not end well; the cause is what it raised."""

    def __init__(self, component: str) -> None:
        super().__init__(f"{component} failed")
        self.component = component


class GateClosed(PipelineInputError):
    """A gate has done what it is there for: the run ends without a model, and is to be looked at by somebody."""
