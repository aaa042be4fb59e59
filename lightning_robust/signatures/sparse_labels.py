"""Image-level labels of many concepts in little memory: positives as pairs, what was annotated as bits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int8, Int32, Int64, Integer, UInt8
from torch import Tensor

from lightning_robust.signatures.concept_checks import check_dtype, check_range, check_tensor

Labels = Integer[Tensor, "n C"] | Bool[Tensor, "n C"] | Float[Tensor, "n C"]
"""Image-level labels of any dtype: 1 the concept is there, 0 it is not, −1 not annotated; nothing between."""

_PIECE_ELEMENTS = 2**24


def check_labels(labels: Labels) -> None:
    """Raise if labels are anything but a matrix of 1, 0 and −1.

    Raises:
        TypeError: if they are no tensor.
        ValueError: if they are no matrix or hold another value.
    """
    check_tensor(labels, "labels", "(n, C)")
    if not labels.numel():
        return
    if labels.is_floating_point() or labels.is_complex():
        wrong = labels[(labels != 1) & (labels != 0) & (labels != -1)]
        if len(wrong):
            raise ValueError(f"labels must be 1, 0 or -1, not {wrong[0].item()}.")
    elif not (int(labels.min()) >= -1 and int(labels.max()) <= 1):
        raise ValueError(f"labels must be 1, 0 or -1, they reach from {int(labels.min())} to {int(labels.max())}.")


@dataclass(frozen=True, eq=False)
class SparseLabels:
    """Labels in {1, 0, −1 unknown} of n images for C concepts: 76 MB for Broden as a matrix, 13 MB here.

    Everything is listed image by image, so that batches are joined by concatenation. Wherever this package takes
    labels ``(n, C)`` it takes these too.

    Attributes:
        positives_per_image: ``(n,)`` int32, how many concepts each image is known to show.
        positives: ``(p,)`` int32, these concepts, image after image, ascending within an image.
        known: ``(n, ⌈C/8⌉)`` uint8, one bit for each concept, the lowest first: was the image annotated for it?
        concepts: C.

    Raises:
        TypeError: if one is no tensor, or of another dtype.
        ValueError: if their sizes do not go together, or a concept is none of the C.
    """

    positives_per_image: Int32[Tensor, " n"]
    positives: Int32[Tensor, " p"]
    known: UInt8[Tensor, "n bytes"]
    concepts: int

    def __post_init__(self) -> None:
        """Refuse what cannot be right; what the bits say of a positive is not looked up."""
        for name, shape, dtype in (
            ("positives_per_image", "(n,)", torch.int32),
            ("positives", "(p,)", torch.int32),
            ("known", "(n, bytes)", torch.uint8),
        ):
            check_dtype(check_tensor(getattr(self, name), name, shape), name, dtype)
        n, C, count = len(self), self.concepts, self.positives_per_image
        if C < 0 or self.known.shape != (n, -(-C // 8)):
            wanted = f"{(n, max(0, -(-C // 8)))} for {n} images and {C} concepts"
            raise ValueError(f"known must have shape {wanted}, not {tuple(self.known.shape)}.")
        check_range(self.positives, "positives", C)
        if n and int(count.min()) < 0:
            raise ValueError(f"positives_per_image must be 0 or more, not {int(count.min())}.")
        if int(count.sum()) != len(self.positives):
            raise ValueError(f"positives_per_image sum to {int(count.sum())}, not to {len(self.positives)} positives.")

    @classmethod
    def from_dense(cls, labels: Labels) -> "SparseLabels":
        """Make them of a matrix.

        Args:
            labels: ``(n, C)`` in {1, 0, −1 unknown}, or bool.

        Returns:
            The same labels, on the same device.

        Raises:
            TypeError: if labels are no tensor.
            ValueError: if they are no matrix or hold other values.

        Example:
            >>> sparse = SparseLabels.from_dense(torch.tensor([[1, 0, 1], [-1, 1, 0]]))
            >>> sparse.positives.tolist(), sparse.positives_per_image.tolist(), sparse.known.tolist()
            ([0, 2, 1], [2, 1], [[7], [6]])
        """
        check_labels(labels)
        labels = labels.detach()
        n, C = labels.shape
        parts = []
        for piece in labels.split(max(1, _PIECE_ELEMENTS // max(1, C))):
            image, concept = (piece == 1).nonzero(as_tuple=True)
            count = torch.bincount(image, minlength=len(piece))
            parts.append(cls(count.to(torch.int32), concept.to(torch.int32), pack_bits(piece >= 0), C))
        if n == 0:
            return cls._nothing(C, labels.device)
        return cls.cat(parts)

    @classmethod
    def from_pairs(
        cls,
        images: Int64[Tensor, " p"],
        concepts: Int64[Tensor, " p"],
        annotated: Bool[Tensor, "n K"],
        categories: Sequence[int],
    ) -> "SparseLabels":
        """Make them of (image, concept) pairs and of what each image was annotated for, never as a matrix.

        Args:
            images: ``(p,)`` the image of each positive.
            concepts: ``(p,)`` its concept; no pair twice.
            annotated: ``(n, K)`` whether an image was annotated for a category.
            categories: the category of each of the C concepts, in 0 … K − 1.

        Returns:
            The labels.

        Raises:
            TypeError: if one is no tensor, images or concepts are no integers, or ``annotated`` is not bool.
            ValueError: if the pairs are not as many images as concepts, an index is out of range, a pair comes twice,
                or an image shows a concept of a category it was not annotated for.

        Example:
            >>> annotated = torch.tensor([[True, True], [False, True]])
            >>> pairs = torch.tensor([0, 1]), torch.tensor([0, 2])
            >>> SparseLabels.from_pairs(*pairs, annotated, [0, 0, 1]).dense().tolist()
            [[1, 0, 0], [-1, -1, 1]]
        """
        check_tensor(annotated, "annotated", "(n, K)", flags=True)
        for name, index in (("images", images), ("concepts", concepts)):
            check_dtype(check_tensor(index, name, "(p,)"), name, torch.int64)
        if len(images) != len(concepts):
            raise ValueError(f"pairs need as many images as concepts, not {len(images)} and {len(concepts)}.")
        n, C = len(annotated), len(categories)
        of = torch.tensor(categories, dtype=torch.int64, device=annotated.device)
        for name, index, size in (
            ("images", images, n),
            ("concepts", concepts, C),
            ("categories", of, annotated.shape[1]),
        ):
            check_range(index, name, size)
        if not bool(annotated[images, of[concepts]].all()):
            raise ValueError("an image shows a concept of a category that it was not annotated for.")
        keys = (images * C + concepts).sort().values
        if bool((keys[1:] == keys[:-1]).any()):
            raise ValueError("a pair of image and concept comes twice.")
        known = torch.cat([pack_bits(piece[:, of]) for piece in annotated.split(max(1, _PIECE_ELEMENTS // max(1, C)))])
        count = torch.bincount(keys // max(1, C), minlength=n)
        return cls(count.to(torch.int32), (keys % max(1, C)).to(torch.int32), known, C)

    @classmethod
    def cat(cls, parts: Sequence["SparseLabels"]) -> "SparseLabels":
        """Join the labels of consecutive images.

        Args:
            parts: at least one, of the same concepts.

        Returns:
            The labels of all images.

        Raises:
            ValueError: if there is no part, or the numbers of concepts differ.

        Example:
            >>> part = SparseLabels.from_dense(torch.tensor([[1, -1]]))
            >>> SparseLabels.cat([part, part]).dense().tolist()
            [[1, -1], [1, -1]]
        """
        numbers = sorted({part.concepts for part in parts})
        if len(numbers) != 1:
            raise ValueError(f"parts to join must have the same number of concepts, not {numbers}.")
        fields = zip(*((part.positives_per_image, part.positives, part.known) for part in parts), strict=True)
        count, positives, known = (torch.cat(field) for field in fields)
        return cls(count, positives, known, numbers[0])

    @classmethod
    def _nothing(cls, concepts: int, device: torch.device) -> "SparseLabels":
        integers = torch.zeros(0, dtype=torch.int32, device=device)
        return cls(integers, integers, pack_bits(torch.zeros(0, concepts, dtype=torch.bool, device=device)), concepts)

    def __len__(self) -> int:
        """Number of images, n."""
        return len(self.positives_per_image)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, C)``."""
        return len(self), self.concepts

    @property
    def images(self) -> Int64[Tensor, " p"]:
        """The image of each positive, ascending."""
        return torch.repeat_interleave(self.positives_per_image.long())

    def dense(self) -> Int8[Tensor, "n C"]:
        """The matrix."""
        labels = unpack_bits(self.known, self.concepts).to(torch.int8) - 1
        labels[self.images, self.positives.long()] = 1
        return labels

    def select(self, mask: Bool[Tensor, " n"]) -> "SparseLabels":
        """The images where ``mask`` holds, in the same order."""
        kept = torch.repeat_interleave(mask, self.positives_per_image)
        return SparseLabels(self.positives_per_image[mask], self.positives[kept], self.known[mask], self.concepts)

    def to(self, device: torch.device | str) -> "SparseLabels":
        """The same labels on another device."""
        count, positives = self.positives_per_image.to(device), self.positives.to(device)
        return SparseLabels(count, positives, self.known.to(device), self.concepts)

    def positives_per_concept(self) -> Int64[Tensor, " C"]:
        """How many images are known to show each concept."""
        return torch.bincount(self.positives, minlength=self.concepts)

    def known_per_concept(self) -> Int64[Tensor, " C"]:
        """How many images were annotated for each concept."""
        patterns, of = self.patterns()
        images = torch.bincount(of, minlength=len(patterns))
        return (images[:, None] * patterns).sum(dim=0)

    def patterns(self) -> tuple[Bool[Tensor, "U C"], Int64[Tensor, " n"]]:
        """The different sets of concepts that images were annotated for, and which of them each image has."""
        rows = np.ascontiguousarray(self.known.cpu().numpy())
        if rows.size == 0:
            # no concept, or no image: at most the one empty set
            different, of = rows[:1], np.zeros(len(rows), dtype=np.int64)
        else:
            joined = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
            different, of = np.unique(joined, return_inverse=True)
            different = different.view(np.uint8).reshape(len(different), -1)
        device = self.known.device
        patterns = unpack_bits(torch.from_numpy(different.copy()), self.concepts)
        return patterns.to(device), torch.from_numpy(of.astype(np.int64)).to(device)


def as_sparse(labels: Labels | SparseLabels) -> SparseLabels:
    """Labels of either form as ``SparseLabels``.

    Raises:
        TypeError: if they are of neither.
        ValueError: if they are no matrix, or hold anything but 1, 0 and −1.
    """
    return labels if isinstance(labels, SparseLabels) else SparseLabels.from_dense(labels)


def pack_bits(bits: Bool[Tensor, "n C"]) -> UInt8[Tensor, "n bytes"]:
    """Eight columns to a byte, the first in the lowest bit; the last byte is filled up with zeros."""
    n, C = bits.shape
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -C % 8)).reshape(n, -(-C // 8), 8)
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (padded * weights).sum(dim=2, dtype=torch.uint8)


def unpack_bits(packed: UInt8[Tensor, "n bytes"], columns: int) -> Bool[Tensor, "n C"]:
    """The inverse of ``pack_bits``."""
    weights = 2 ** torch.arange(8, dtype=torch.uint8, device=packed.device)
    bits = (packed[:, :, None] & weights) != 0
    return bits.reshape(len(packed), 8 * packed.shape[1])[:, :columns]
