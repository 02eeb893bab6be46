"""End-to-end sessions: Noise_IK_25519_ChaChaPoly_BLAKE2b, its replay window and the life of its keys.

The one rule: sans-IO. Bytes and times in, bytes and decisions out; no socket, clock, thread, file or source of
randomness in here, they are handed in. Modules are named after the objects of the Noise specification, revision 34.
"""
