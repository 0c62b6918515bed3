"""Repairs audio files whose header states a wrong length, as programs that write into a pipe and broken tools do.

libsndfile trusts the header and reads no sample beyond its length. So this module counts the length where that is cheap
compared with decoding (the frames of an MP3, the bytes of a WAV), and replaces a wrong header in memory.
"""

from dataclasses import dataclass
from pathlib import Path

import soundfile

OGG_PAGE = 65_307
"""Length of the longest Ogg page, in bytes."""
OGG_SERIAL = slice(14, 18)
"""Bytes of a page that hold the serial number of its stream."""
STREAMINFO = 34
"""Length in bytes of the first metadata block of a FLAC file, which starts at byte 8."""
PADDING_FRAMES = 8
"""MPEG frames by which a correct length may differ from the number of frames, because encoders subtract padding."""
TAG_OF_SIDE_INFO = {True: {True: 17, False: 32}, False: {True: 9, False: 17}}
"""Bytes between a frame's header and the tag of a Xing header, by whether the frame is MPEG 1, then whether mono."""
BITRATES_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates of the header's codes from 1 on, by MPEG version (2 stands for 2.5 too) and layer."""
RATES_HZ = (44_100, 48_000, 32_000)
"""Sample rates of MPEG 1 by the header's code; those of MPEG 2 and 2.5 are a half and a quarter."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A file with the right length in its header.

    Args:
        content: bytes of the repaired file.
        stated: length in the original header, in samples per channel; null if that header has no real length.
    """

    content: bytes
    stated: int | None


def mended(path: Path, file: soundfile.SoundFile) -> Mended | None:
    """Returns the file with a corrected header if its own states a wrong length; null if no repair is needed."""
    if file.format == "MP3":
        return _mended_mpeg(path.read_bytes(), file.frames)
    if file.format in ("WAV", "WAVEX"):
        return _mended_wav(path)
    if file.format == "FLAC":
        return _mended_flac(path, file)
    return None


def ogg_lacks_its_end(path: Path) -> bool:
    """Returns whether the last page lacks the mark of a stream's end, or belongs to a second stream.

    libsndfile reads only the first stream.
    """
    with path.open("rb") as file:
        head = file.read(OGG_SERIAL.stop)
        file.seek(max(0, path.stat().st_size - 2 * OGG_PAGE))
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    return len(page) < OGG_SERIAL.stop or not page[5] & 4 or page[OGG_SERIAL] != head[OGG_SERIAL]


def _mended_mpeg(content: bytes, stated: int) -> Mended | None:
    frames = _MpegFrames.of(content)
    if frames is None or abs(frames.samples - stated) <= PADDING_FRAMES * frames.samples_per_frame:
        return None
    # Without a header, libsndfile estimates the length from the first frame's bit rate, which says nothing of losses.
    return Mended(frames.with_header(), stated if frames.has_header else None)


@dataclass(frozen=True, slots=True)
class _MpegFrames:
    """The frames of MPEG audio (MP3).

    Args:
        content: bytes of the file.
        sound: bytes from the first frame of sound to the end of the last complete one.
        count: number of these frames.
        samples_per_frame: samples per channel in each frame.
        has_header: whether a frame before them holds only metadata (Xing, Info or VBRI).
    """

    content: bytes
    sound: slice
    count: int
    samples_per_frame: int
    has_header: bool

    @property
    def samples(self) -> int:
        """Number of samples per channel."""
        return self.count * self.samples_per_frame

    @classmethod
    def of(cls, content: bytes) -> "_MpegFrames | None":
        """Finds all frames of a file; null if there are none, or if they have a free bit rate."""
        start = _after_id3(content)
        start = _next_frame(content, start)
        if start is None:
            return None
        length = _frame_bytes(content[start + 1], content[start + 2])
        tag = content[start : start + length]
        has_header = b"Xing" in tag[:64] or b"Info" in tag[:64] or b"VBRI" in tag[:64]
        first = start + length if has_header else start
        count, end = _followed(content, first)
        per_frame = _samples_per_frame(content[start + 1])
        return cls(content, slice(first, end), count, per_frame, has_header) if count else None

    def with_header(self) -> bytes:
        """Returns the frames after a Xing header that states their number."""
        sound = self.content[self.sound]
        head = sound[:4]
        is_mpeg_1, is_mono = head[1] & 0x18 == 0x18, head[3] & 0xC0 == 0xC0
        # The header frame takes the highest bit rate, so that the tag fits, and has no checksum.
        head = bytes([head[0], head[1] | 1, head[2] & 0x0C | 0xE0, head[3]])
        place = 4 + TAG_OF_SIDE_INFO[is_mpeg_1][is_mono]
        length = _frame_bytes(head[1], head[2])
        facts = b"Xing" + (3).to_bytes(4, "big")
        facts += self.count.to_bytes(4, "big") + (length + len(sound)).to_bytes(4, "big")
        return (head + bytes(place - 4) + facts).ljust(length, b"\0") + sound


def _after_id3(content: bytes) -> int:
    """Returns the position after the ID3 tags at the start, of which there may be several."""
    start = 0
    while content[start : start + 3] == b"ID3":
        size = content[start + 6 : start + 10]
        start += 10 + sum((byte & 0x7F) << 7 * (3 - place) for place, byte in enumerate(size))
    return start


def _next_frame(content: bytes, start: int) -> int | None:
    """Returns the first position from `start` on with two frames of one kind in a row, or one that ends the file."""
    place = content.find(b"\xff", start)
    while 0 <= place < len(content) - 3:
        length = _frame_bytes(content[place + 1], content[place + 2])
        after = place + length
        if length and (after == len(content) or content[after : after + 2] == content[place : place + 2]):
            return place
        place = content.find(b"\xff", place + 1)
    return None


def _followed(content: bytes, start: int) -> tuple[int, int]:
    """Counts the complete frames from `start` on and returns their number and the end of the last one."""
    lengths: dict[bytes, int] = {}
    count, place, end, total = 0, start, start, len(content)
    while place < total:
        head = content[place : place + 3]
        length = lengths.get(head)
        if length is None:
            length = lengths[head] = _frame_bytes(head[1], head[2]) if len(head) == 3 and head[0] == 0xFF else 0
        if not length:  # damage, or a tag after the sound
            found = _next_frame(content, place + 1)
            if found is None:
                break
            place = found
            continue
        place += length
        if place > total:  # the last frame is incomplete
            break
        count, end = count + 1, place
    return count, end


def _samples_per_frame(code: int) -> int:
    layer = 4 - (code >> 1 & 3)
    return 384 if layer == 1 else 1_152 if layer == 2 or code & 0x18 == 0x18 else 576


def _frame_bytes(second: int, third: int) -> int:
    """Returns a frame's length by bytes 2 and 3 of its header; 0 if that is no header or has a free bit rate."""
    version, layer, bitrate, rate = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 4, third >> 2 & 3
    if second < 0xE0 or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits = 1_000 * BITRATES_KBPS[1 if version == 3 else 2, layer][bitrate - 1]
    rate_hz = RATES_HZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    padding = third >> 1 & 1
    if layer == 1:
        return 4 * (12 * bits // rate_hz + padding)
    return _samples_per_frame(second) // 8 * bits // rate_hz + padding


def _mended_wav(path: Path) -> Mended | None:
    """Repairs a WAV whose data length is 0, or is followed by more bytes than it states that are no chunk."""
    total = path.stat().st_size
    with path.open("rb") as file:
        place, size = 12, 0
        while True:
            file.seek(place)
            name, size = file.read(4), int.from_bytes(file.read(4), "little")
            if name == b"data" or len(name) < 4:
                break
            place += 8 + size + size % 2
        start = place + 8
        file.seek(start + size + size % 2)
        name, after = file.read(4), int.from_bytes(file.read(4), "little")
        is_chunk = name.isascii() and name.decode().isprintable() and start + size + 8 + after <= total
        if start >= total or start + 2 * size >= total or (size and is_chunk):
            return None
        file.seek(0)
        content = file.read()
    length = min(total - start, 0xFFFFFFFE)
    return Mended(content[: place + 4] + length.to_bytes(4, "little") + content[start:], None)


def _mended_flac(path: Path, file: soundfile.SoundFile) -> Mended | None:
    """Removes the stated length of a FLAC that has more than twice the bytes its longest frames would need."""
    with path.open("rb") as opened:
        if opened.read(4) != b"fLaC":
            return None
        start, is_last = 4, False
        while not is_last:
            opened.seek(start)
            head = opened.read(4)
            is_last, start = len(head) < 4 or head[0] >= 0x80, start + 4 + int.from_bytes(head[1:], "big")
        opened.seek(8)
        facts = opened.read(STREAMINFO)
        block, longest = int.from_bytes(facts[2:4], "big"), int.from_bytes(facts[7:10], "big")
        longest = longest or 64 + 4 * block * file.channels  # bound for uncompressed samples of 32 bits
        if not block or path.stat().st_size - start <= 2 * longest * -(-file.frames // block):
            return None
        opened.seek(0)
        content = bytearray(opened.read())
    content[21] &= 0xF0  # the length has 36 bits, and its upper 4 share a byte with other fields
    content[22:26] = bytes(4)
    return Mended(bytes(content), None)
