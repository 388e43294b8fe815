"""Images of every kind that benchmarks contain, generated."""

import io

from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def plain(color: str = "red", size: tuple[int, int] = (40, 30), form: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", size, color), form)


def half_transparent() -> bytes:
    """Left half black and opaque, right half black and fully transparent."""
    image = Image.new("RGBA", (40, 30), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (20, 0, 40, 30))
    return encoded(image)


def palette_transparent() -> bytes:
    image = Image.new("P", (40, 30), 0)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.paste(1, (20, 0, 40, 30))
    return encoded(image, transparency=0)


def sixteen_bits() -> bytes:
    """A scan that uses a small part of its range: 1000 on the left, 3000 on the right."""
    image = Image.new("I;16", (40, 30), 1000)
    image.paste(3000, (20, 0, 40, 30))
    return encoded(image)


def lying() -> bytes:
    """Stored 40 x 30, to be shown turned by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (40, 30), "blue"), "JPEG", exif=exif)


def huge() -> bytes:
    return encoded(Image.new("L", (6000, 3000), 128))


def bomb() -> bytes:
    """A few kB that hold 144 million pixels."""
    return encoded(Image.new("1", (12_000, 12_000)))


def cut_off() -> bytes:
    return plain(size=(200, 200), form="JPEG")[:500]
