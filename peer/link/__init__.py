"""The sockets of a peer. The one rule: nothing here can read a body."""
