"""The one port of a server: what comes in, and what goes to whom (docs/adr/0002, 0017)."""
