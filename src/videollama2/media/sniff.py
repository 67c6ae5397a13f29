"""What a file is, told by its first bytes and never by its name."""

from __future__ import annotations

from typing import Literal

Family = Literal["image", "gif", "av", "audio", "other", "unknown"]

HEAD_BYTES = 4096

# (offset, bytes, family, what to call it). "av" may hold pictures, sound or both; "audio" can only hold sound.
_MAGIC: tuple[tuple[int, bytes, Family, str], ...] = (
    (0, b"GIF87a", "gif", "a GIF"),
    (0, b"GIF89a", "gif", "a GIF"),
    (0, b"\x89PNG\r\n\x1a\n", "image", "a PNG image"),
    (0, b"\xff\xd8\xff", "image", "a JPEG image"),
    (0, b"II*\x00", "image", "a TIFF image"),
    (0, b"MM\x00*", "image", "a TIFF image"),
    (0, b"\x00\x00\x00\x0cjP  ", "image", "a JPEG 2000 image"),
    (0, b"BM", "image", "a BMP image"),
    (0, b"P5\n", "image", "a PGM image"),
    (0, b"P6\n", "image", "a PPM image"),
    (0, b"fLaC", "audio", "a FLAC sound file"),
    (0, b"OggS", "av", "an Ogg file"),
    (0, b"ID3", "audio", "an MP3 sound file"),
    (0, b"RF64", "audio", "a WAV sound file"),
    (0, b"FORM", "audio", "an AIFF sound file"),
    (0, b".snd", "audio", "an AU sound file"),
    (0, b"caff", "audio", "a CAF sound file"),
    (0, b"#!AMR", "audio", "an AMR sound file"),
    (0, b"\x1aE\xdf\xa3", "av", "a Matroska or WebM file"),
    (0, b"FLV", "av", "an FLV file"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "av", "an ASF or WMV file"),
    (0, b"\x00\x00\x01\xba", "av", "an MPEG program stream"),
    (0, b"\x00\x00\x01\xb3", "av", "an MPEG video stream"),
    (4, b"moov", "av", "a QuickTime file"),
    (4, b"mdat", "av", "a QuickTime file"),
    (4, b"wide", "av", "a QuickTime file"),
    (0, b"%PDF", "other", "a PDF document"),
    (0, b"PK\x03\x04", "other", "a ZIP archive (or an office document)"),
    (0, b"\x1f\x8b", "other", "a gzip archive"),
    (0, b"7z\xbc\xaf", "other", "a 7-Zip archive"),
    (0, b"\x7fELF", "other", "a program"),
    (0, b"MZ", "other", "a program"),
    (0, b"#EXTM3U", "other", "a playlist"),
    (0, b"ffconcat", "other", "a playlist"),
    (0, b"version https://git-lfs", "other", "a Git LFS pointer, not the file itself"),
    (0, b"\x93NUMPY", "other", "a saved NumPy array (pass the array itself)"),
)
_RIFF: dict[bytes, tuple[Family, str]] = {
    b"WAVE": ("audio", "a WAV sound file"),
    b"AVI ": ("av", "an AVI file"),
    b"WEBP": ("image", "a WebP image"),
}
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1", b"msf1")


def sniff(head: bytes) -> tuple[Family, str]:
    """Tell a file's family and what to call it from its first bytes (up to `HEAD_BYTES`)."""
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        if head[8:12] in _STILL_BRANDS:
            return "image", "an AVIF or HEIF image"
        return "av", "an MP4 or QuickTime file"
    found = [(family, what) for offset, magic, family, what in _MAGIC if head[offset : offset + len(magic)] == magic]
    # Short marks such as "BM" or "ID3" also begin ordinary sentences.
    if _is_text(head) and not (found and found[0][0] == "other"):
        return "other", "a text file"
    if found:
        return found[0]
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "audio", "an MP3 or AAC sound stream"
    if len(head) > 188 * 2 and head[0] == head[188] == head[376] == 0x47:
        return "av", "an MPEG transport stream"
    return "unknown", "a file of no known kind"


def _is_text(head: bytes) -> bool:
    if not head or b"\x00" in head:
        return False
    try:
        # A multi-byte letter may be cut at the end of the head.
        text = head[: len(head) - 3].decode("utf-8") if len(head) > 64 else head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter in "\r\n\t\f" for letter in text)
