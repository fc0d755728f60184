"""capstream streams a loyalty programme into a customer data platform."""

__version__ = "0.1.0"
