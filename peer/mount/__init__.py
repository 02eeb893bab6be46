"""The laptop side: a FUSE file system in front of a remote one."""
