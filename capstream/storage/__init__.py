"""Durable storage behind three small ports: Log, Documents, Lake. No domain rules live here."""
