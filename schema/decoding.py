"""What decoding MessagePack that is not ours can raise.

The one rule: every decoder of what comes from elsewhere catches `UNDECODABLE`, and makes one error of its own of it.
"""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""msgspec does not turn text that is no UTF-8 into an error of its own, nor nesting that is too deep."""
