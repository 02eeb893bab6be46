"""Everything the broker raises on purpose, under one root.

The one rule: these are for the operator, at start; what a *peer* does wrong is no exception, but a counted refusal.
"""

from __future__ import annotations


class BrokerError(Exception):
    """Root of the broker's errors. The message is one sentence: what happened, to what, and what to do next."""


class ConfigurationError(BrokerError):
    """The configuration file cannot be used as it is."""


class KeyFileError(ConfigurationError):
    """The broker's key file is missing, open to others, or not a key file."""


class StartupError(BrokerError):
    """A resource that the broker needs to run is not to be had, such as a port that is in use."""
