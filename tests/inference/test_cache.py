import torch

from videollama2.inference.cache import CachedFeatures, FeatureCache, feature_key


def item(rows, value=1.0, **record):
    return CachedFeatures(features=torch.full((rows, 4), value, dtype=torch.bfloat16), record=record)


def test_key_covers_values_not_order():
    assert feature_key(a=1, b=None) == feature_key(b=None, a=1)
    keys = {feature_key(a=1), feature_key(a=2), feature_key(b=1), feature_key(a="1"), feature_key(a=1, b=None)}
    assert len(keys) == 5


def test_memory_is_bounded_and_least_recently_used_goes_first():
    cache = FeatureCache(max_bytes=3 * 8 * 10)
    for name in "abc":
        cache.put(name, item(10))
    assert cache.get("a") is not None
    cache.put("d", item(10))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.num_bytes <= cache.max_bytes
    cache.put("huge", item(100))
    assert cache.get("huge") is None
    assert len(cache) == 3
    assert (cache.hits, cache.misses) == (2, 2)


def test_disk_gives_back_the_same_bits_and_record(tmp_path):
    FeatureCache(directory=tmp_path).put("k", item(3, 0.3, times=(1.0, 2.0)))
    back = FeatureCache(directory=tmp_path).get("k")
    assert torch.equal(back.features, item(3, 0.3).features)
    assert back.features.dtype == torch.bfloat16
    assert back.record == {"times": [1.0, 2.0]}
    assert not list(tmp_path.glob(".partial-*"))


def test_damaged_files_are_never_used(tmp_path):
    for damage in ("flip", "cut", "text"):
        FeatureCache(directory=tmp_path).put("k", item(30, 0.3))
        path = tmp_path / "k.safetensors"
        raw = bytearray(path.read_bytes())
        if damage == "flip":
            raw[-5] ^= 1
        path.write_bytes({"flip": bytes(raw), "cut": bytes(raw[:-20]), "text": b"nothing"}[damage])
        cache = FeatureCache(directory=tmp_path)
        assert cache.get("k") is None, damage
        assert cache.num_damaged == 1
        assert not path.exists()


def test_disk_is_bounded(tmp_path):
    cache = FeatureCache(directory=tmp_path, max_disk_bytes=3000)
    for name in range(10):
        cache.put(str(name), item(100))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3000
    assert (tmp_path / "9.safetensors").exists()


def test_memory_copy_is_detached_from_the_callers_tensor():
    cache = FeatureCache()
    features = torch.ones(2, 2, requires_grad=True)
    cache.put("k", CachedFeatures(features=features * 2))
    assert not cache.get("k").features.requires_grad
