"""The language of RemoteFS: every message, name and limit that two programs must agree on.

The one rule: nothing here does anything. It imports the standard library and msgspec only, opens no file that it is
not handed, and knows no socket, so each of the three programs can depend on it and it depends on none of them.
"""
