"""The program client.py; what it prints and how it ends is tested from outside, in e2e/."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ClientTest(unittest.TestCase):
    """What is there before anything else."""

    def test_help(self) -> None:
        """Help is there at once: nothing that takes long to be loaded is loaded for it."""
        code = (
            "import sys, client\ntry: client.main(['--help'])\nexcept SystemExit: print('cryptography' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines()[-1], "False")
