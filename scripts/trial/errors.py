"""What stops a trial installation. The one rule: the message is one sentence that a newcomer can act on."""

from __future__ import annotations


class TrialError(Exception):
    """The trial cannot start, or cannot stop."""


class StartFailed(TrialError):
    """A program of the trial did not come up; the message ends with what its log says."""
