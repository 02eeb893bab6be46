"""Requests and replies over sealed sessions: asked once, answered once, or failed by a deadline."""
