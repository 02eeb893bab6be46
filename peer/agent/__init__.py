"""The remote machine: confined file operations, who may do them, and what was done."""
