"""One file: usable pictures look as OpenCV shows them, everything else is refused with a reason."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hostile import encode
from PIL import Image

from src.images import pictures
from src.images.files import content_hash
from src.images.hashing import perceptual_hash
from src.images.pictures import decode_picture, read_picture, read_thumbnails

HEIGHT, WIDTH = 40, 60


def draw(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Returns smooth blobs of colour, so that lossy formats change little."""
    coarse = np.random.default_rng(seed).integers(20, 236, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def png_declaring(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_format_under_the_name_jpg_is_read_in_rgb_order(tmp_path, kind):
    path = tmp_path / "cat.0.jpg"
    path.write_bytes(encode(draw(), kind))
    picture = read_picture(path)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert picture.dtype == np.uint8
    # GIF has 256 colours; swapped channels would differ by far more than 15 levels.
    assert mean_difference(picture, draw()) < 15 < mean_difference(draw()[..., ::-1], draw())


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30}])
def test_jpeg_pixels_are_those_of_cv2_imread(tmp_path, options):
    path = tmp_path / "cat.0.jpg"
    path.write_bytes(encode(draw(), **options))
    np.testing.assert_array_equal(read_picture(path), cv2.imread(str(path))[..., ::-1])


def test_cmyk_jpeg_keeps_its_colours():
    data = encode(draw(), mode="CMYK", quality=95)
    assert mean_difference(decode_picture(data), draw()) < 5


def test_grey_jpeg_has_three_equal_channels():
    picture = decode_picture(encode(draw(), mode="L"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert (picture == picture[..., :1]).all()


def test_16_bit_png_is_scaled_to_8_bits():
    deep = draw()[..., 0].astype(np.uint16) * 257
    picture = decode_picture(encode(deep, "PNG"))
    np.testing.assert_allclose(picture[..., 0].astype(int), draw()[..., 0], atol=1)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_dropped_as_opencv_does(kind):
    transparent = np.dstack([draw(), np.full((HEIGHT, WIDTH), 128, np.uint8)])
    np.testing.assert_array_equal(decode_picture(encode(transparent, kind, lossless=True)), draw())


def test_palette_png_shows_its_colours():
    assert mean_difference(decode_picture(encode(draw(), "PNG", mode="P")), draw()) < 20


def test_animated_gif_shows_its_first_frame():
    frames = [Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (200, 50)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (decode_picture(buffer.getvalue()) == 200).all()


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", None), ("JPEG", "CMYK"), ("PNG", None)])
def test_exif_rotation_is_applied(kind, mode):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    options = {"quality": 95} if kind == "JPEG" else {}
    picture = decode_picture(encode(draw(), kind, mode, exif=exif, **options))
    assert mean_difference(picture, np.rot90(draw(), -1)) < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_picture_cut_off_at_every_tenth_is_refused(kind, tenth):
    data = encode(draw(), kind)
    with pytest.raises(ValueError, match=r"truncated or damaged|not a picture") as caught:
        decode_picture(data[: len(data) * tenth // 10])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_cut_off_jpeg_with_a_whole_thumbnail_inside_is_refused(progressive):
    thumbnail = encode(draw(height=8, width=8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = encode(draw(), progressive=progressive)
    whole = whole[:2] + segment + whole[2:]
    assert decode_picture(whole).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match="truncated"):
        decode_picture(whole[:-40])


@pytest.mark.parametrize("tail", [b"\0" * 100, b"appended text", b"\xff\xd9"])
def test_bytes_behind_a_whole_jpeg_do_no_harm(tail):
    np.testing.assert_array_equal(decode_picture(encode(draw()) + tail), decode_picture(encode(draw())))


def test_a_jpeg_without_jfif_header_is_read():
    data = encode(draw())
    length = struct.unpack(">H", data[4:6])[0]
    assert data[6:10] == b"JFIF"
    assert decode_picture(data[:2] + data[4 + length :]).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500, "not a picture"),  # Thumbs.db
        (b"a text\n", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (png_declaring(50_000, 50_000), "too many pixels"),
        (png_declaring(10_001, 10_000), "too many pixels"),
        (encode(np.zeros((1, 1, 3), np.uint8), "PNG"), "too small"),
        (encode(np.zeros((1, 500, 3), np.uint8)), "too small"),
        (encode(np.zeros((500, 1, 3), np.uint8)), "too small"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_usable_picture_is_refused_with_its_kind(data, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        decode_picture(data)


def test_a_jpeg_header_of_50000_by_50000_is_refused():
    data = bytearray(encode(draw()))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 50_000, 50_000)
    with pytest.raises(ValueError, match=r"^too many pixels"):
        decode_picture(bytes(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_bytes_in_a_picture_never_end_in_anything_but_pixels_or_a_value_error(kind):
    random = np.random.default_rng(1)
    data = np.frombuffer(encode(draw(), kind), np.uint8)
    for _ in range(60):
        broken = data.copy()
        places = random.integers(0, len(data), 5)
        broken[places] = random.integers(0, 256, 5)
        try:
            picture = decode_picture(broken.tobytes())
        except ValueError as error:
            assert "\n" not in str(error)
        else:
            assert picture.ndim == 3
            assert picture.dtype == np.uint8


def test_read_picture_names_the_file(tmp_path):
    path = tmp_path / "Kätzchen mit Leerzeichen.jpg"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"Kätzchen mit Leerzeichen\.jpg.*zero bytes"):
        read_picture(path)
    path.write_bytes(encode(draw()))
    assert read_picture(path).shape == (HEIGHT, WIDTH, 3)


@pytest.fixture
def without_pillow(monkeypatch):
    monkeypatch.setattr(pictures, "Image", None)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", None, {}),
        ("JPEG", "L", {}),
        ("JPEG", None, {"progressive": True}),
        ("JPEG", None, {"exif": 6}),
    ]
    + [(kind, None, {}) for kind in ("PNG", "BMP", "WEBP", "TIFF", "GIF")]
    + [("PNG", "P", {}), ("PNG", "LA", {}), ("PNG", None, {"exif": 6})],
)
def test_a_whole_picture_has_the_same_pixels_without_pillow(kind, mode, options, monkeypatch):
    if "exif" in options:
        options = {"exif": Image.Exif()}
        options["exif"][0x0112] = 6
    data = encode(draw(height=200, width=300), kind, mode, **options)
    verified = decode_picture(data)
    monkeypatch.setattr(pictures, "Image", None)
    np.testing.assert_array_equal(decode_picture(data), verified)


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_cut_off_picture_is_refused_without_pillow_too(kind, tenth):
    data = encode(draw(height=200, width=300), kind)
    with pytest.raises(ValueError, match=r"truncated or damaged|not a picture"):
        decode_picture(data[: len(data) * tenth // 10])


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize("tail", [b"", b"\0" * 100, b"\xff\xda text"])
def test_a_jpeg_with_a_thumbnail_is_told_from_a_cut_off_one_without_pillow(tail):
    thumbnail = encode(draw(height=8, width=8))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = encode(draw(height=200, width=300))
    whole = whole[:2] + b"\xff" + segment + whole[2:]  # a filling byte may stand before any marker
    assert decode_picture(whole + tail).shape == (200, 300, 3)
    with pytest.raises(ValueError, match="a JPEG without its end"):
        decode_picture(whole[:-40])


@pytest.mark.usefixtures("without_pillow")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"a text\n", "not a picture"),
        (b"#?RADIANCE\n", "not a picture"),  # a format that OpenCV knows and data preparation refuses
        (b"\xff\xd8\xff", "truncated"),
        (encode(np.zeros((1, 90, 3), np.uint8)), "too small"),
    ],
)
def test_what_is_no_usable_picture_is_refused_without_pillow_too(data, reason):
    with pytest.raises(ValueError, match=f"^{reason}"):
        decode_picture(data)


def bits_between(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_perceptual_hash_hardly_changes_when_a_picture_is_resaved_or_resized():
    # As in photographs, there is something to see at every scale.
    picture = draw(height=300, width=400) // 2 + cv2.resize(draw(2, 60, 80)[::-1], (400, 300)) // 4
    fine = np.random.default_rng(3).integers(0, 64, (30, 40, 3), dtype=np.uint8)
    picture += cv2.resize(fine, (400, 300), interpolation=cv2.INTER_CUBIC)
    resaved = decode_picture(encode(picture, quality=40))
    resized = cv2.resize(picture, (180, 180), interpolation=cv2.INTER_AREA)
    assert len(perceptual_hash(picture)) == 64
    assert bits_between(perceptual_hash(picture), perceptual_hash(resaved)) <= 40
    assert bits_between(perceptual_hash(picture), perceptual_hash(resized)) <= 40
    assert bits_between(perceptual_hash(picture), perceptual_hash(draw(1, 300, 400))) > 40


def test_a_plain_area_has_no_perceptual_hash():
    assert perceptual_hash(np.full((50, 50, 3), 130, np.uint8)) == ""


def test_a_picture_to_be_looked_at_is_small_and_keeps_its_shape(tmp_path):
    random = np.random.default_rng(0)
    for name, sides in (("large.png", (3000, 1200)), ("narrow.png", (2, 900)), ("small.png", (30, 40))):
        cv2.imwrite(str(tmp_path / name), random.integers(0, 256, (*sides, 3), dtype="uint8"))
    large, narrow, small = read_thumbnails(
        tmp_path / name for name in ("large.png", "narrow.png", "small.png")
    )
    assert (large.shape, narrow.shape) == ((400, 160, 3), (1, 400, 3))
    np.testing.assert_array_equal(small, read_picture(tmp_path / "small.png"))


def test_a_picture_that_changed_is_told_from_the_one_that_was_there(tmp_path):
    path = tmp_path / "cat.0.png"
    cv2.imwrite(str(path), np.zeros((9, 9, 3), "uint8"))
    assert read_picture(path, content_hash(path.read_bytes())).shape == (9, 9, 3)
    with pytest.raises(ValueError, match=r"cat\.0\.png has changed since notebook 01"):
        read_picture(path, "0" * 32)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_damaged_in_the_middle_is_judged_by_pillow(progressive):
    """OpenCV decodes each of them, grey where the damage begins; Keras's own generators would stop there."""
    random, buffer = np.random.default_rng(0), io.BytesIO()
    whole = Image.fromarray(random.integers(0, 256, (60, 60, 3), dtype="uint8"))
    whole.save(buffer, "JPEG", progressive=progressive)
    data = buffer.getvalue()
    assert decode_picture(data).shape == (60, 60, 3)
    refused = 0
    for place in range(len(data) // 2, len(data) - 60, 20):
        damaged = data[:place] + b"\xff\x7a" + data[place + 2 :]
        try:
            Image.open(io.BytesIO(damaged)).load()
        except OSError:
            refused += 1
            with pytest.raises(ValueError, match="truncated or damaged: broken data stream"):
                decode_picture(damaged)
        else:
            decode_picture(damaged)
    assert progressive or refused > 50


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_32_bits_are_refused_with_pillow_and_without(mode, monkeypatch):
    """From 0 to 1 they would be black, from 0 to 100,000 cut off."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), {"F": "float32", "I": "int32"}[mode])).save(buffer, "TIFF")
    for library in (Image, None):
        monkeypatch.setattr(pictures, "Image", library)
        words = "32-bit pixels: save it anew with 8 or 16 bits" if library else "OpenCV cannot decode it"
        with pytest.raises(ValueError, match=words):
            decode_picture(buffer.getvalue())
    monkeypatch.undo()
    buffer = io.BytesIO()
    Image.fromarray(np.full((9, 9), 40_000, "uint16")).save(buffer, "TIFF")
    for library in (Image, None):
        monkeypatch.setattr(pictures, "Image", library)
        assert decode_picture(buffer.getvalue()).mean() == 40_000 // 256


@pytest.mark.parametrize("library", [Image, None], ids=["with Pillow", "without"])
def test_12_bits_in_a_file_of_16_are_refused_and_not_taken_for_night(library, monkeypatch):
    """All that OpenCV and Pillow keep of them are the upper eight bits of sixteen."""
    monkeypatch.setattr(pictures, "Image", library)
    grey = np.arange(81, dtype="uint16").reshape(9, 9) * 50  # up to 4,000
    for deep in (grey, np.dstack([grey] * 3)):
        written = cv2.imencode(".png", deep)[1].tobytes()
        with pytest.raises(
            ValueError, match="16-bit pixels that use 12 bits or fewer: nearly black, save it stretched"
        ):
            decode_picture(written)
        assert decode_picture(cv2.imencode(".png", deep * 16)[1].tobytes()).max() == 250
        night = cv2.imencode(".png", (deep // 500).astype("uint8"))[1].tobytes()
        assert decode_picture(night).max() == 8
    if library:
        with pytest.raises(ValueError, match="16-bit pixels that use 12 bits or fewer"):
            decode_picture(cv2.imencode(".tiff", grey)[1].tobytes())
