"""Programs on this machine that watch the mount with inotify(7) hear of what happens on the remote machine.

The kernel tells watchers of what is done through it, and of nothing else. So a thread of ours does the same once more,
on our own mount: ftruncate(2) to the size that a file has, open(2) with O_CREAT, mkdir(2), unlink(2), rename(2). What
reaches us of that is answered as if it had been done, for it has been, on the remote machine.

The one rule: nothing that this thread asks for ever changes anything at the agent. What is not the very call that was
planned is refused; so a mistake here costs an event and never a file.

Modules: `echoes` (which call stands for which change), `own_changes` and `told_names` (which need none),
`watched_inodes` and `audience` (who watches at all), `calls` (made on the mount), `pretence` (what they are answered),
`performer` (the thread).
"""
