"""Token buckets."""

from __future__ import annotations

import threading
import unittest

from bucket import Bucket


class BucketTest(unittest.TestCase):
    """Taking tokens, on a clock that stands still."""

    def setUp(self) -> None:
        """Make a bucket of three, with two new ones a second."""
        self.now = 100.0
        self.bucket = Bucket(3, 2, lambda: self.now)

    def take(self, times: int) -> int:
        """Try so often, and return how often there was one."""
        return sum(self.bucket.take() for _ in range(times))

    def test_burst(self) -> None:
        """As many as it holds can be taken at once, and then none."""
        self.assertEqual(self.take(10), 3)

    def test_rate(self) -> None:
        """With time come new ones, each at its own; what was refused costs nothing."""
        self.take(10)
        self.now += 0.25
        self.assertEqual(self.take(1), 0)
        self.now += 0.25
        self.assertEqual(self.take(2), 1)
        self.now += 1
        self.assertEqual(self.take(10), 2)

    def test_full(self) -> None:
        """It holds no more than it can, however long nobody takes any."""
        self.now += 1_000_000
        self.assertEqual(self.take(10), 3)

    def test_threads(self) -> None:
        """Many threads together take no more than there are."""
        bucket = Bucket(1000, 0)
        taken: list[bool] = []
        threads = [
            threading.Thread(target=lambda: taken.extend(bucket.take() for _ in range(500)), daemon=True)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(taken), 1000)
