"""Comparing the numbers of `selfcheck` with the stored ones, and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# Largest difference allowed, relative to the largest magnitude of the tensor. Stored numbers are float32 of an x86 CPU;
# other CPUs and BLAS libraries sum in another order: a few thousand products differ by about 1e-6, layers add up to
# 1e-5. Sound is rounded to bfloat16 on the way (1/256 of a value), and a value that falls on the other side moves all
# that follows.
TOLERANCES = {
    "pixels": 1e-5,
    "vision": 1e-4,
    "connector": 1e-4,
    "fbank": 8e-3,
    "audio": 5e-3,
    "logits": 1e-3,
    "logits with sound": 1e-2,
}
# A GPU's convolutions and matrix products sum in yet other orders.
OTHER_DEVICE_FACTOR = 10.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """One comparison: of which variant, of what, how far off, and how far is allowed (0 where it has to be equal)."""

    variant: str
    name: str
    passed: bool
    deviation: float
    tolerance: float
    seconds: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SelfCheckReport:
    """All steps of a self-check."""

    steps: tuple[Step, ...]
    seconds: float
    machine: str

    @property
    def passed(self) -> bool:
        """Whether every step passed."""
        return bool(self.steps) and all(step.passed for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe values."""
        steps = [asdict(step) for step in self.steps]
        return {"passed": self.passed, "seconds": self.seconds, "machine": self.machine, "steps": steps}

    def table(self) -> str:
        """One line a step, and the verdict."""
        lines = [f"{'variant':<11} {'step':<18} {'deviation':>10} {'allowed':>9} {'seconds':>8}"]
        for step in self.steps:
            verdict = "PASS" if step.passed else f"FAIL {step.note}"
            numbers = f"{step.deviation:>10.2e} {step.tolerance:>9.0e} {step.seconds:>8.2f}"
            lines.append(f"{step.variant:<11} {step.name:<18} {numbers}  {verdict}")
        failed = sum(not step.passed for step in self.steps)
        verdict = "all passed" if self.passed else f"{failed} FAILED"
        lines.append(f"{len(self.steps)} steps in {self.seconds:.1f} s on {self.machine}: {verdict}")
        return "\n".join(lines)


def compare(variant: str, results: dict[str, Any], stored: dict[str, Any], device: str) -> list[Step]:
    """One `Step` for every result."""
    steps = []
    for name, result in results.items():
        expected = stored.get(name, {})
        deviation, tolerance, passed, note = 0.0, 0.0, True, ""
        if "exact" in result:
            passed = result["exact"] == expected.get("exact")
            note = "" if passed else f"got {result['exact']}, stored {expected.get('exact')}"
        else:
            tolerance = TOLERANCES[name] * (1.0 if device == "cpu" else OTHER_DEVICE_FACTOR)
            passed = result["shape"] == expected.get("shape")
            note = f"shape {result['shape']}, stored {expected.get('shape')}"
            if passed:
                pairs = zip([*result["values"], result["largest"]], [*expected["values"], expected["largest"]])
                deviation = max(abs(one - other) for one, other in pairs) / max(expected["largest"], 1e-12)
                # NaN compares false with everything.
                passed = deviation <= tolerance
                note = "off by more than another machine's float32 explains"
        seconds = round(result["seconds"], 3)
        steps.append(
            Step(
                variant=variant,
                name=name,
                passed=passed,
                deviation=deviation,
                tolerance=tolerance,
                seconds=seconds,
                note="" if passed else note,
            )
        )
    return steps
