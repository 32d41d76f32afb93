"""Tests of crypto/, most of them by vectors made independently of it."""
