"""The two ends: what runs on the laptop and on the remote machine, and the sealed channel between them."""
