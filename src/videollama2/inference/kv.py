"""Keys and values of prompts that were read already, as plain immutable tensors.

A cache of transformers grows by concatenation, so the tensors it held before stay as they were: keeping a prefix costs
no copy, and continuing from it twice is safe. Letters: B rows, H key-value heads, L tokens, D head width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

Layers = tuple[tuple[torch.Tensor, torch.Tensor], ...]


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the first tokens of a prompt.

    Attributes:
        layers: (keys, values) of every layer, each [1, H, L, D].
        length: L.
    """

    layers: Layers
    length: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(tensor.numel() * tensor.element_size() for pair in self.layers for tensor in pair)

    def cropped(self, length: int) -> Prefix:
        """The first `length` tokens of it (views, no copy)."""
        assert 0 <= length <= self.length
        layers = tuple((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers)
        return Prefix(layers, length)


def snapshot(cache: DynamicCache) -> Prefix:
    """What a cache holds now."""
    layers = layers_of(cache)
    return Prefix(layers, layers[0][0].shape[2] if layers else 0)


def layers_of(cache: DynamicCache) -> Layers:
    """Keys and values of every layer; every layer keeps its own full attention (no linear attention here)."""
    held: list[Any] = list(cache.layers)
    return tuple((layer.keys, layer.values) for layer in held)


def new_cache(prefix: Prefix | None = None) -> DynamicCache:
    """A cache that continues from a prefix.

    Every layer keeps all tokens, also in models with sliding windows: there the mask alone hides old tokens, so that a
    prefix can be cropped anywhere.
    """
    cache = DynamicCache()
    if prefix is not None and prefix.length:
        for index, (keys, values) in enumerate(prefix.layers):
            cache.update(keys, values, index)
    return cache


def merge_left_padded(prefixes: Sequence[Prefix]) -> tuple[DynamicCache, torch.Tensor]:
    """Puts single rows into one cache, padded on the left with zeros that the mask hides.

    Returns:
        The cache with B = len(prefixes) rows of the longest length, and its mask [B, L] long (1 real, 0 padding).
    """
    longest = max(prefix.length for prefix in prefixes)
    device = prefixes[0].layers[0][0].device
    mask = torch.zeros(len(prefixes), longest, dtype=torch.long, device=device)
    for row, prefix in enumerate(prefixes):
        mask[row, longest - prefix.length :] = 1
    cache = DynamicCache()
    for index in range(len(prefixes[0].layers)):
        keys = torch.cat([_pad_left(prefix.layers[index][0], longest) for prefix in prefixes])
        values = torch.cat([_pad_left(prefix.layers[index][1], longest) for prefix in prefixes])
        cache.update(keys, values, index)
    return cache, mask


def row_prefix(cache: DynamicCache, row: int, length: int) -> Prefix:
    """The last `length` tokens of one row (its padding on the left is dropped)."""
    layers = tuple(
        (keys[row : row + 1, :, -length:], values[row : row + 1, :, -length:]) for keys, values in layers_of(cache)
    )
    return Prefix(layers, length)


def select_rows(cache: DynamicCache, rows: torch.Tensor) -> DynamicCache:
    """A cache with some of the rows (finished answers leave a batch and free their memory)."""
    selected = DynamicCache()
    for index, (keys, values) in enumerate(layers_of(cache)):
        selected.update(keys[rows], values[rows], index)
    return selected


class PrefixCache:
    """Prefixes of recent prompts by their key, least recently used first out, bounded by bytes."""

    def __init__(self, max_bytes: int = 512 << 20) -> None:
        self.max_bytes = max_bytes
        self._items: OrderedDict[str, Prefix] = OrderedDict()

    def get(self, key: str) -> Prefix | None:
        """The prefix under a key, or None."""
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: str, prefix: Prefix) -> None:
        """Keeps a prefix, unless it alone is over the bound."""
        if prefix.num_bytes > self.max_bytes:
            return
        self._items[key] = prefix
        self._items.move_to_end(key)
        while sum(item.num_bytes for item in self._items.values()) > self.max_bytes:
            self._items.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
        self._items.clear()

    def __len__(self) -> int:
        """Prefixes kept."""
        return len(self._items)


def _pad_left(tensor: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, length - tensor.shape[2], 0))
