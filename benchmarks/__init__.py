"""What was measured, and how to measure it again: `make bench`. A benchmark is not a test, and no test needs one."""
