"""What measures: `python -m benchmarks` (speed and memory), `python -m benchmarks.parity` (deviation from official)."""
