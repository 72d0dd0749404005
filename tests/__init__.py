"""The tests, room by room. A package, because an installed library brings a top-level `tests` of its own."""
