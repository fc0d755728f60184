"""Alerts on dataflow runs: rules, subscriptions, the bell, and webhooks in the form of I/O Events.

Source: monitoring-alerts.md 4 and 5.
"""
