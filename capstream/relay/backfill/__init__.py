"""Backfill: Capillary's CSV exports into the relay, through the door its webhooks use. Source: capillary.md 8."""
