"""A seeded, structure-aware fuzzer: every input is read, or raises the documented error, and nothing else happens."""
