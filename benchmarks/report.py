"""The page that `python -m benchmarks --markdown FILE` writes."""

from __future__ import annotations

from typing import Any

_PROSE = """# Benchmarks

Written by `{command}` on {cpu} with {cores} cores, {torch_threads} torch thread(s),
torch {torch}, transformers {transformers}, PyAV {av}.

Each line sets one fast path of this project against its plain version. Both results are compared first (column
*deviation*, with what is allowed), then both are timed in turns; seconds are medians. *CPU ratio* compares the
processor seconds of all threads: it is what to read where the machine was busy with other work.

| name | fast | plain |
|---|---|---|
| import | `import videollama2` in a fresh interpreter | none (limit 0.2 s) |
| decode_seek_skip | frames by seek and skip | decode the whole file, convert the wanted frames |
| decode_and_pixels | file to SigLIP input | decode the whole file, Hugging Face processor on Pillow |
| pixels | decoded frames to tower input | Hugging Face processor on Pillow |
| fbank | vectorised filterbank | one window after the other in numpy |
| long_file_memory | 16 frames of one hour of 1080p, in a process of its own | decode the whole file |
| tower_used_layers | layers up to the selected one | all layers |
| image_once | tower and connector on the image once | `num_frames` copies through all layers, plain connector |
| video_encode | tower and connector, few frames at a time, fp32 and bf16 | all layers, plain connector, fp32 |
| connector | channels last, a few frames at a time | channels-first convolutions of torch |
| beats | one position bias, attention in pieces | bias looked up in each layer, full score matrices |
| second_question | a further question on a clip | the same question asked first |
| choose | options continue from one reading of the prompt | a reading for each option |
| batch | eight requests decoded together | one by one |
| packing | a training step of packed rows, forward and backward | the same samples in padded rows |
| packing_positions | positions computed for packed rows, of the official step and mixture | padded rows |
| kept_features | an epoch of connector training from kept features | decode and encode every time |
| data_wait | share of the time a step waits for clips, one decode worker | none (limit .05) |
| world_clips | 256 clips of the world as arrays, one process | none |
| world_films | frames of a film at once, repeated ones kept | every frame on its own |

Towers and connectors have reduced depth or width unless `--full` was given (the released models' sizes,
random weights).

"""

# Further figures of single benchmarks, told in the last column.
EXTRA = (
    "growth_mb",
    "ratio_to_plain_float32",
    "packed_waste",
    "grouped_waste",
    "padded_waste",
    "positions_ratio",
    "wait_share",
    "wait_share_without_workers",
    "clips_per_cpu_second",
    "clips_per_second_of_all",
    "films_per_cpu_second",
)


def page(lines: list[dict[str, Any]], where: dict[str, Any]) -> str:
    """Prose and table."""
    prose = _PROSE.format(command=where["command"], **where["machine"], **where["versions"])
    return prose + table(lines)


def table(lines: list[dict[str, Any]]) -> str:
    """One row for each benchmark line."""
    rows = [
        "| benchmark | sizes | fast s | plain s | ratio | CPU ratio | deviation |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for line in lines:
        if "error" in line:
            rows.append(f"| {line['benchmark']} | {line['error']} | | | | | FAIL |")
            continue
        sizes = ", ".join(f"{name} {value}" for name, value in line["sizes"].items())
        check = line["check"]
        if "deviation" in check:
            said = f"{check['deviation']:g} of {check['tolerance']:g} {check['unit']}"
        else:
            said = ", ".join(f"{name} {value}" for name, value in check.items())
        extra = "".join(f"; {name} {line[name]}" for name in EXTRA if name in line)
        numbers = " | ".join(str(line.get(name, "")) for name in ("fast_s", "plain_s", "ratio", "cpu_ratio"))
        rows.append(f"| {line['benchmark']} | {sizes} | {numbers} | {said}{extra} |")
    return "\n".join(rows) + "\n"
