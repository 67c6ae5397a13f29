"""What an answer rests on, as text for people: what the model saw and heard, at what cost, and what was changed."""

from __future__ import annotations

from collections.abc import Sequence

from videollama2.inference.answer import Answer, AudioHeard, VisualSeen


def summarize(answer: Answer, *, verbose: bool = False) -> str:
    """The block "what it saw and heard", one fact a line.

    Args:
        answer: The answer.
        verbose: Also model, hashes, settings and what was not done again.
    """
    provenance = answer.provenance
    lines = [f"  saw    {describe_visual(item)}" for item in provenance.visuals]
    lines += [f"  heard  {describe_audio(item)}" for item in provenance.audio]
    tokens = ", ".join(f"{count} {name}" for name, count in provenance.tokens.items() if count)
    seconds = ", ".join(f"{name} {value:.2f}" for name, value in provenance.seconds.items() if value >= 0.005)
    lines.append(f"  tokens {tokens}")
    lines.append(f"  spent  {seconds or '0.00'} s ({sum(provenance.seconds.values()):.2f} s in all)")
    if answer.option_scores is not None:
        lines.append(f"  scores {', '.join(f'{score:.3f}' for score in answer.option_scores)}")
    if answer.finish_reason == "length":
        lines.append("  cut    the answer reached max-new-tokens")
    lines += [f"  event  {event}" for event in provenance.events]
    if verbose:
        lines.append(f"  model  {provenance.model} {provenance.model_hash[:16]}")
        lines.append(f"  input  preprocessing {provenance.preprocessing_hash[:16]}")
        lines.append(f"  set    {', '.join(f'{name}={value}' for name, value in provenance.settings.items())}")
        lines.append(f"  kept   {', '.join(f'{name}={value}' for name, value in provenance.cache.items())}")
    return "what it saw and heard:\n" + "\n".join(lines)


def describe_visual(item: VisualSeen) -> str:
    """One line about a video or image."""
    if item.kind == "image":
        return f"{item.source}: the image"
    times = [time for time in item.times if time is not None and time == time]
    padded = f", {item.num_padded} black frames added" if item.num_padded else ""
    return f"{item.source}: {len(times)} frames of {item.duration:.1f} s at {listed(times)} s{padded}"


def describe_audio(item: AudioHeard) -> str:
    """One line about a sound."""
    if item.status in ("absent", "failed"):
        return f"{item.source}: nothing, sound {item.label}"
    windows = " ".join(f"{start:.1f}-{end:.1f}" for start, end in item.windows)
    return f"{item.source}: sound {item.label}, {windows or 'nothing'} s of {item.duration:.1f} s ({item.policy})"


def listed(times: Sequence[float]) -> str:
    """Times with two decimals, the middle of a long list left out."""
    shown = [f"{time:.2f}" for time in times]
    return " ".join(shown if len(shown) <= 16 else [*shown[:8], "...", *shown[-4:]])
