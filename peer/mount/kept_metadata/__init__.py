"""What a mount knew of names and attributes, kept on disk from one mount to the next.

`records` say what is kept, `sealed_file` how it lies on the disk, `snapshot` takes it out of the cache and puts it
back, `keeper` does so at the right times. What is put back is suspect: the agent is asked, in bulk, what of it holds.

The one rule: nothing that comes from the disk is shown before the agent has confirmed it.
"""
