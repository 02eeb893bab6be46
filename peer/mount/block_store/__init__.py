"""Contents of remote files on the local disk: sealed, partial, shared by several mounts, never trusted.

The one rule: the only proof that a block is right is that it opens. There is no index, no journal and no lock over
contents; a process finds a block by computing where it must be, and what it finds there either authenticates for that
place of that file version or counts as missing.

From this follows what the store promises.

- **Killed at any moment.** A slot that was written in part does not open. Nothing else has to be consistent, and
  nothing has to be repaired at start.
- **Several processes, one directory.** Every call finds by name what it works on, also what it has open still (see
  `open_containers`). Two who write one slot write the same content, each under a key of its own; if their bytes mix,
  the slot does not open. Who reads while another writes reads again, and only a slot that fails twice with the same
  bytes is emptied: at worst a good block is fetched again. Evicting unlinks: who is reading reads on, who comes later
  misses, who was writing has written in vain. The space is free once all have closed the file: in twenty seconds.
- **Bounded.** One number in the file `usage` (under flock, waited for 10 ms at most) counts what all have written
  since the last count. Each process adds to it in batches of 1/256 of the size, evicts above 15/16, and writes
  nothing above the whole. So each process can be beyond `max_bytes` of disk blocks by a batch and what its threads
  are writing at that moment; the directories' own blocks are not counted. What killed processes had not added is
  found by the next count, which every start and every hour brings. One process counts and evicts at a time (flock on
  `tidying`).
- **Least recently used.** The modification time of a container is its last use, exact to a minute, so a read costs
  one fstat(2) and, once a minute, one utimensat(2). What goes is a container: a file, or 16 MiB of a large one.
- **Disk full, read-only or broken.** Logged once a kind; nothing is written for a minute, and a full disk gets a
  quarter of the store back, which then stays that small for an hour.

Not promised: that who can write to the directory cannot make blocks missing, or bring back a block that was sealed
for the same version (see `sealing`); nor that the number and rough sizes of cached files are hidden.

Modules: `layout`, `eviction` (pure), `sealing` (pure), `processor` (which cipher), `containers`,
`open_containers`, `holes` and `usage` (files), `shelf`, `upkeep`, `outage`,
`statistics`, and the `store` that the rest of the mount uses.
"""
