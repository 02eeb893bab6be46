"""The numbers that both ends of a wire must agree on; a peer that goes beyond one is refused, never accommodated."""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 1
"""Version byte of every header, and the first field of the Noise prologue."""

MAX_PEER_ID: Final = 64
"""Characters in a peer id."""

MAX_LANES: Final = 8
"""Request lanes (DEALER connections) one peer instance may register."""

MAX_TOPIC: Final = 32
"""Bytes in a change-feed topic; topics are random, so that they cannot be guessed."""

MIN_TOPIC: Final = 16
"""Fewer bytes than this would be guessable."""

MAX_RELAY_MESSAGE: Final = 4096
"""Bytes in a message between a peer and the broker itself."""

MAX_NAME: Final = 255
"""Bytes in one path component, as NAME_MAX in limits.h."""

MAX_DEPTH: Final = 2048
"""Components in one path."""

MAX_PATH: Final = 65_536
"""Bytes of all components of a path together. Over PATH_MAX on purpose: the agent walks by descriptor."""

MAX_LINK_TARGET: Final = 4095
"""Bytes in the target of a symbolic link: PATH_MAX without its NUL."""

MAX_XATTR_NAME: Final = 255
"""Bytes in the name of an extended attribute, as XATTR_NAME_MAX in linux/limits.h."""

MAX_XATTR_VALUE: Final = 65_536
"""Bytes in the value of an extended attribute, as XATTR_SIZE_MAX in linux/limits.h."""

MAX_GROUPS: Final = 1024
"""Supplementary groups of one caller that are passed on."""

MAX_DATA: Final = 1024 * 1024
"""Bytes of file data in one request or reply."""

MAX_BODY: Final = MAX_DATA + 64 * 1024
"""Bytes of one plaintext body, decompressed: the bulk data and all that may stand beside it."""

MAX_PAGE_ENTRIES: Final = 2048
"""Directory entries in one ListDir reply: so many of the longest names with the largest numbers fit into `MAX_BODY`."""

MAX_COMPARED: Final = 4096
"""Names in one VerifyMetadata that are compared by fingerprints of their directories: 25 ms of an agent's time."""

MAX_IN_FLIGHT: Final = 512
"""Requests of one client instance that wait for an answer at a time."""

SEAL_OVERHEAD: Final = 16
"""Bytes that Poly1305 adds to a sealed body."""

MAX_MESSAGE: Final = 2 * MAX_BODY
"""Bytes of one sealed body on the wire, padding included."""
