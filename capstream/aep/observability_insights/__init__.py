"""Observability Insights: what the platform counted, as time series."""
