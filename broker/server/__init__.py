"""The sockets and the one loop: everything the broker does happens here, one message at a time.

The one rule: no call in a turn of the loop waits. A connection that takes no more has its messages spooled, one that is
gone is reported, and only the poll waits, a quarter of a second at most, so stopping takes no longer.
"""

from broker.server.loop import Server

__all__ = ["Server"]
