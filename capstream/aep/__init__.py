"""The embedded Experience Platform: one folder per Adobe service, named as Adobe's specification file."""
