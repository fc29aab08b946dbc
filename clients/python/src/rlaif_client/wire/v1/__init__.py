"""Version 1 of the wire, which only grows. Made by clients/python/generate."""
