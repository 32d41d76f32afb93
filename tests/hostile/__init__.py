"""Attacks on running programs, while two honest users talk through the same server."""
