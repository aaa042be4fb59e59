"""Trees of ImageNet and its shifts in exactly the layouts that they are unpacked in, with tiny images.

The colour of an image is its class: red and green are class // 256 and class % 256, blue 99.
"""

import io
import json
import re
import tarfile
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

import lightning_robust.data.imagenet.classes as classes_module

INFO = Path(find_spec("timm").origin).parent / "data" / "_info"
WNIDS = (INFO / "imagenet_synsets.txt").read_text().split()
R = [int(k) for k in (INFO / "imagenet_r_indices.txt").read_text().split()]
A = [int(k) for k in (INFO / "imagenet_a_indices.txt").read_text().split()]
OBJECTS = json.loads(Path(classes_module.__file__).with_name("objectnet.json").read_text())["objects"]


def picture(index, size=(8, 8), border=None):
    """Encoded: a square in the colour of a class, with a border of one pixel where wanted."""
    image = Image.new("RGB", size, (index // 256, index % 256, 99))
    if border is not None:
        framed = Image.new("RGB", size, border)
        framed.paste(image.crop((1, 1, size[0] - 1, size[1] - 1)), (1, 1))
        image = framed
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def class_of(pixels):
    """The class that a tensor `(…, 3, H, W)` of 0–255 shows in its middle."""
    h, w = pixels.shape[-2] // 2, pixels.shape[-1] // 2
    return pixels[..., 0, h, w].long() * 256 + pixels[..., 1, h, w].long()


def fill(folder, images, per_class=1, suffix=".JPEG", border=None):
    """`images`: folder name → class."""
    for name, index in images.items():
        (folder / name).mkdir(parents=True)
        data = picture(index, border=border)
        for k in range(per_class):
            (folder / name / f"{name}_{k}{suffix}").write_bytes(data)
    return folder


def by_wnid(indices=range(1000)):
    return {WNIDS[k]: k for k in indices}


def train(root, per_class=2, indices=range(1000), name="train"):
    return fill(root / name, by_wnid(indices), per_class)


def val(root, per_class=1, name="val"):
    return fill(root / name, by_wnid(), per_class)


def v2(root, variant="matched-frequency", per_class=1):
    return fill(root / f"imagenetv2-{variant}-format-val", {str(k): k for k in range(1000)}, per_class, ".jpeg")


def r(root, per_class=1, name="imagenet-r"):
    return fill(root / name, by_wnid(R), per_class, ".jpg")


def a(root, per_class=1, name="imagenet-a"):
    return fill(root / name, by_wnid(A), per_class, ".jpg")


def sketch(root, per_class=1, name="sketch"):
    return fill(root / name, by_wnid(), per_class)


def objectnet(root, per_class=1, name="objectnet-1.0/images", folders=None):
    """All 313 folders; colour of the canonical class, 0 for objects without one; red border of a pixel."""
    images = {f: (OBJECTS[f][1] or [0])[0] for f in folders or OBJECTS}
    return fill(root / name, images, per_class, ".png", border=(255, 0, 0))


def everything(root, per_class=1):
    train(root, 2 * per_class)
    for make in (val, v2, r, sketch, objectnet, a):
        make(root, per_class=per_class)
    return root


def tar(path, samples):
    """A webdataset shard from `{member name: bytes}`."""
    with tarfile.open(path, "w") as archive:
        for name, data in samples.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def numbers_in(text):
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]
