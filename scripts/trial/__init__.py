"""The trial installation that `scripts/quickstart` makes: three peers on one machine, under supervisord.

The one rule: everything lies in one directory of its own, and stopping leaves no process and no mount.
"""
