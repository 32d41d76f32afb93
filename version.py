"""The version of these programs; CHANGELOG.md tells what is in each."""

from __future__ import annotations

from typing import Final

VERSION: Final = "1.0.dev0"  # what "Unreleased" is until it is released
