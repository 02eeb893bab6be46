"""The relay: it carries sealed messages between peers and learns who talks to whom, how much and when.

The one rule: nothing here can read a body. The broker imports the envelope's half of `schema` only, and nothing of
`peer`.
"""
