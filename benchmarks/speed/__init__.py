"""Benchmarks: each fast path against its plain version, results compared before anything is timed."""
