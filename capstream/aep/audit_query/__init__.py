"""Audit Query: who changed what, when, and with what outcome."""
