"""The losses of contrastive pretraining, InfoNCE and SigLIP: pure functions of embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(
    images: Tensor, texts: Tensor, logit_scale: Tensor, tokens: Tensor | None = None, *, own: slice = slice(None)
) -> Tensor:
    """CLIP's loss (Radford et al. 2021, arXiv 2103.00020): cross-entropy over all pairs, in both directions.

    Without `tokens` each image's only positive is its own caption. With them identical captions are positives of each
    other: the target of an image is uniform over all captions of the batch that are identical to its own, and likewise
    for a caption. As long as identical captions have the same embedding, both are the same number with the same
    gradients of the weights: the batch's mean asks the same of an embedding whichever of its images it is paired with.
    They differ where a text tower has dropout.

    Args:
        images: Normalised image embeddings of the whole batch, `(n, d)`.
        texts: Normalised text embeddings, `(n, d)`; row i belongs to image i.
        logit_scale: The factor on the cosines, after `exp`.
        tokens: The captions' tokens, `(n, context length)`; they say which captions are identical.
        own: The pairs whose images and captions are contrasted with the whole batch: where several processes share a
            batch, each takes its own, and the mean over equally large shares is the loss of the whole.

    Returns:
        The mean over the own pairs and both directions, a scalar in nats.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> round(float(info_nce(h, h, torch.tensor(1.0))), 4)  # log(1 + 1/e)
        0.3133
        >>> same = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> loss = info_nce(same, same, torch.tensor(9.0), torch.tensor([[1], [1]]))
        >>> round(float(loss), 4)  # log 2: the two cannot be told apart, and no gradient asks for it
        0.6931
    """
    by_image = logit_scale * images[own] @ texts.T
    by_text = by_image.T if own == slice(None) else logit_scale * texts[own] @ images.T
    if tokens is None:
        targets = torch.arange(len(texts), device=texts.device)[own]
    else:
        same = identical(tokens, own).to(by_image.dtype)
        targets = same / same.sum(dim=1, keepdim=True)
    return 0.5 * (functional.cross_entropy(by_image, targets) + functional.cross_entropy(by_text, targets))


def contrastive_loss(images: Tensor, texts: Tensor, logit_scale: Tensor, tokens: Tensor) -> Tensor:
    """`info_nce` in which identical captions are positives of each other.

    Args:
        images: Normalised image embeddings, `(n, d)`.
        texts: Normalised text embeddings, `(n, d)`; row i belongs to image i.
        logit_scale: The factor on the cosines, after `exp`.
        tokens: The captions' tokens, `(n, context length)`.

    Returns:
        The mean of both directions, a scalar in nats.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> round(float(contrastive_loss(h, h, torch.tensor(9.0), torch.tensor([[1], [1]]))), 4)
        0.6931
    """
    return info_nce(images, texts, logit_scale, tokens)


def siglip(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    tokens: Tensor | None = None,
    *,
    own: slice = slice(None),
) -> Tensor:
    """SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343): every pair of image and caption judged for itself.

    The logit of a pair is `logit_scale * cosine + logit_bias`, its label +1 for an image with its own caption and −1
    for any other; with `tokens`, +1 for every caption that is identical to the image's own.

    Args:
        images: Normalised image embeddings, `(m, d)`: the loss is a sum over images, so those of `own` do.
        texts: Normalised text embeddings of the whole batch, `(n, d)`.
        logit_scale: The factor on the cosines, after `exp`.
        logit_bias: What is added to every logit.
        tokens: The tokens of all captions, `(n, context length)`; they say which captions are identical.
        own: Which of the captions belong to the images, in their order; all where a process holds the whole batch.

    Returns:
        The sum of `−log sigmoid(label · logit)` over all captions, mean over the images; a scalar in nats.

    Example:
        >>> h = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> zero = torch.tensor(0.0)
        >>> round(float(siglip(h, h, zero, zero)), 4)  # two captions, a coin is tossed for each: 2 log 2
        1.3863
    """
    logits = logit_scale * images @ texts.T + logit_bias
    if tokens is None:
        rows = torch.arange(len(texts), device=texts.device)
        positive = rows[own, None] == rows
    else:
        positive = identical(tokens, own)
    labels = 2 * positive.to(logits.dtype) - 1
    return -functional.logsigmoid(labels * logits).sum() / len(images)


def identical(tokens: Tensor, own: slice = slice(None)) -> Tensor:
    """Say which captions are identical.

    Args:
        tokens: Of all captions, `(n, context length)`.
        own: The captions to compare with all.

    Returns:
        Booleans, `(own, n)`.

    Example:
        >>> identical(torch.tensor([[1, 5], [1, 6], [1, 5]]), slice(0, 1))
        tensor([[ True, False,  True]])
    """
    # a number per caption: comparing tokens pairwise would take context length times the memory
    kind: Tensor = torch.unique(tokens, dim=0, return_inverse=True)[1]
    return kind[own, None] == kind
