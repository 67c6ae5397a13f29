"""The Hugging Face hub: find what is already here, fetch only what is needed, and say so.

Offline (argument, or `HF_HUB_OFFLINE=1`) no connection is tried, not even to ask for a newer version.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from videollama2.errors import CheckpointError, MissingFilesError

logger = logging.getLogger(__name__)

# Called with what is going on, steps done, steps in all.
Progress = Callable[[str, int, int], None]

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*$")
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
)
OTHER_WEIGHTS = (
    "mm_projector*.bin",
    "mm_projector*.safetensors",
    "adapter_config.json",
    "adapter_model.*",
    "non_lora_trainables.*",
)
# In the order of preference: only the first that the repository has is fetched.
FULL_WEIGHT_SETS = (("model*.safetensors", "model.safetensors.index.json"), ("pytorch_model*.bin*",))
TOWER_CONFIG_FILES = ("config.json", "preprocessor_config.json")


def is_offline(offline: bool | None = None) -> bool:
    """Whether downloads are off: the argument, or else HF_HUB_OFFLINE / TRANSFORMERS_OFFLINE."""
    if offline is not None:
        return offline
    switched_on = ("1", "true", "yes", "on")
    return any(os.environ.get(name, "").lower() in switched_on for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def looks_like_hub_id(name: str) -> bool:
    """Whether a name has the form `org/name`."""
    return bool(_HUB_ID.match(name))


def needed_files(files: Sequence[str], *, config_only: bool = False) -> list[str]:
    """Picks from a repository's file list what a checkpoint needs: small files, and one set of weights.

    Args:
        files: All file names of the repository.
        config_only: Take a tower's config and pixel rules alone.
    """

    def pick(patterns: Sequence[str]) -> list[str]:
        return [name for name in files if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]

    if config_only:
        return pick(TOWER_CONFIG_FILES)
    weights = next((found for patterns in FULL_WEIGHT_SETS if (found := pick(patterns))), [])
    return pick(SMALL_FILES) + pick(OTHER_WEIGHTS) + weights


def cached(repo_id: str) -> Path | None:
    """Folder of the newest snapshot of a repository in the local hub cache, or None. Never connects."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo_id, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def fetch(repo_id: str, *, config_only: bool = False, progress: Progress | None = None) -> Path:
    """Downloads what a checkpoint needs of a repository into the hub cache; what is there already is not fetched again.

    Args:
        repo_id: `org/name`.
        config_only: Fetch a tower's config and pixel rules alone.
        progress: Told before the download; without it a warning is logged, for a download is never hidden.

    Returns:
        Folder of the snapshot.

    Raises:
        CheckpointError: If the repository does not exist or is not open to this user.
        MissingFilesError: If it cannot be reached.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # The HTTP library beneath differs between releases of the hub's; its base error is found through the hub's own.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        wanted = needed_files(HfApi().list_repo_files(repo_id), config_only=config_only)
        if not wanted:
            raise CheckpointError(f"The repository {repo_id} holds no checkpoint; check its name.")
        message = f"downloading {len(wanted)} files of {repo_id}"
        if progress is not None:
            progress(message, 0, len(wanted))
        else:
            logger.warning("%s", message)
        folder = Path(snapshot_download(repo_id, allow_patterns=wanted))
        if progress is not None:
            progress(message, len(wanted), len(wanted))
        return folder
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, http_error, OSError) as error:
        if isinstance(error, HfHubHTTPError) and not isinstance(error, LocalEntryNotFoundError):
            raise CheckpointError(
                f"The hub does not give out {repo_id} ({error.__class__.__name__}); check the name, or log in with "
                "`hf auth login` if it needs permission."
            ) from error
        if (local := cached(repo_id)) is not None:
            return local
        raise MissingFilesError(
            f"{repo_id} is neither on this machine nor reachable ({error.__class__.__name__}); check the connection, "
            "or copy the checkpoint here and give its folder."
        ) from error
