"""The embedded platform's fault switch: calls on a route fail in a chosen way. Off unless somebody sets a fault."""
