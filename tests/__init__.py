"""The tests: one module for each module of the project, and e2e/ with real processes."""
