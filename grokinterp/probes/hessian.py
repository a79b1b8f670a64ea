"""The curvature of the train loss: its Hessian's extreme eigenvalues and trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from grokinterp.checks import integer
from grokinterp.snapshot import Snapshot

Vector = Float[np.ndarray, " parameter"]
Product = Callable[[Vector], Vector]

# Restarts of the Lanczos iteration before it gives up; a trained model needs a few.
MAX_RESTARTS = 50


@torch.inference_mode(False)  # Which switches gradients on, too.
def hessian(
    snapshot: Snapshot,
    top: int = 5,
    trace_samples: int = 30,
    smallest: bool = False,
    tol: float = 1e-3,
    seed: int = 0,
) -> dict[str, float | np.ndarray]:
    """Top eigenvalues and trace of the Hessian H of the mean train cross-entropy (in nats).

    The cross-entropy is the task's, of the model's own logits: a recipe's temperature, initial
    prediction and penalty are not in it. Over the trainable parameters.

    The ReLU's kinks have no second derivative and count as flat, so over a finite step the loss can
    bend more than H says. The products run in the model's dtype, with the loss in float64: a
    memorised train set's softmax is rounded to 0 and 1 in float32, and its curvature with it. At p
    = 113 a product takes about half a second on one core, and the defaults need 50 to 70.

    Args:
        top: How many of the largest eigenvalues, by implicitly restarted Lanczos (scipy's eigsh) on
            exact Hessian-vector products.
        trace_samples: How many random sign vectors z; the trace is the mean of zᵀHz (Hutchinson).
        smallest: Also the most negative eigenvalue.
        tol: Relative residual of the eigenvalues, which bounds their error. The smallest one is
            known to `tol` times the largest: what lies nearer to zero than that, of either sign, is
            not told from zero.
        seed: Draws the vectors.

    Returns:
        eigenvalues ([top]): Descending.
        largest (float): The first of them.
        trace (float): Its estimate.
        trace_standard_error (float): Its standard error.
        smallest (float): Where asked for.

    Raises:
        ValueError: The eigenvalues do not converge to `tol`.

    Nothing to find:
        0 where the loss is flat. A memorised or grokked model's loss can be all but flat: 6e-5 in
        `off`, grokked, where the initial weights have 0.24.

    Source:
        Hutchinson 1990; ARPACK.
    """
    trace_samples, seed = integer("trace_samples", trace_samples, 2), integer("seed", seed)
    if not 0 <= tol < 1:
        raise ValueError(f"tol must be at least 0 and below 1; got {tol}")
    model = snapshot.model
    tokens, labels = snapshot.train.tokens, snapshot.train.labels
    named = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    size = sum(p.numel() for p in named.values())
    if not 1 <= top < size:
        raise ValueError(
            f"top must lie between 1 and {size - 1}, one less than the model's trainable "
            f"parameters; got {top}"
        )

    def loss(parameters: Mapping[str, Tensor]) -> Tensor:
        logits = torch.func.functional_call(model, dict(parameters), (tokens,))
        return F.cross_entropy(logits[:, -1].double(), labels)

    product = hessian_vector_product(loss, named)
    eigenvalues = largest_eigenvalues(product, size, top, tol, seed)
    trace, standard_error = hutchinson_trace(product, size, trace_samples, seed)
    values: dict[str, float | np.ndarray] = {
        "eigenvalues": eigenvalues,
        "largest": float(eigenvalues[0]),
        "trace": trace,
        "trace_standard_error": standard_error,
    }
    if smallest:
        values["smallest"] = smallest_eigenvalue(product, size, float(eigenvalues[0]), tol, seed)
    return values


def hessian_vector_product(
    loss_function: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor]
) -> Product:
    """v -> Hv, exact, for the Hessian H of a scalar function of named tensors.

    A vector holds the parameters flattened, in their order.

    >>> weights = {"w": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    >>> product = hessian_vector_product(lambda named: named["w"].prod() ** 2, weights)
    >>> product(np.array([1.0, 0.0]))  # of w₁²w₂² at (1, 2): 2w₂², 4w₁w₂
    array([8., 8.])
    """
    return gradient_and_product(loss_function, parameters)[1]


def gradient_and_product(
    loss_function: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor]
) -> tuple[Vector, Product]:
    """The gradient of a scalar function of named tensors, and v -> Hv for its Hessian H.

    The gradient's graph is built once and kept, so that a product is one backward pass through it;
    curvlinops (3.0) would go through the model anew for each.
    """
    names = list(parameters)
    leaves = [parameters[name].detach().requires_grad_() for name in names]
    sizes = [leaf.numel() for leaf in leaves]
    with torch.inference_mode(False):  # Which switches gradients on, too.
        loss = loss_function(dict(zip(names, leaves, strict=True)))
        gradient = torch.autograd.grad(loss, leaves, create_graph=True, materialize_grads=True)
        # What the loss is linear in, or does not depend on, has a gradient without a graph.
        curved = [g for g in gradient if g.requires_grad]

    def product(vector: Vector) -> Vector:
        if not curved:
            return np.zeros(sum(sizes))
        parts = torch.from_numpy(np.ascontiguousarray(vector)).split(sizes)
        directions = [
            part.view_as(leaf).to(leaf)
            for part, leaf, g in zip(parts, leaves, gradient, strict=True)
            if g.requires_grad
        ]
        return flat(
            torch.autograd.grad(
                curved, leaves, directions, retain_graph=True, materialize_grads=True
            )
        )

    return flat(gradient), product


def flat(parts: Iterable[Tensor]) -> Vector:
    return torch.cat([part.detach().flatten().cpu().double() for part in parts]).numpy()


def largest_eigenvalues(
    product: Product, size: int, count: int, tol: float = 1e-3, seed: int = 0
) -> Float[np.ndarray, " count"]:
    """The largest eigenvalues of a symmetric operator of this size, descending."""
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    start = np.random.default_rng(seed).standard_normal(size)
    if not product(start).any():
        return np.zeros(count)  # ARPACK takes no operator of zeros.
    try:
        found = eigsh(
            LinearOperator((size, size), matvec=product, dtype=np.float64),
            k=count,
            which="LA",
            tol=tol,
            maxiter=MAX_RESTARTS,
            v0=start,
            return_eigenvectors=False,
        )
    except ArpackNoConvergence as error:
        raise ValueError(
            f"{len(error.eigenvalues)} of {count} eigenvalues converged to tol={tol} within "
            f"{MAX_RESTARTS} restarts; ask for fewer of them, or for a larger tol"
        ) from error
    return np.sort(found)[::-1]


def smallest_eigenvalue(
    product: Product, size: int, largest: float, tol: float = 1e-3, seed: int = 0
) -> float:
    """The smallest one, given the largest, to `tol` of the distance between the two.

    As the largest of `largest` − H: relative to itself, an eigenvalue near zero is never found.
    """
    shifted = largest_eigenvalues(lambda v: largest * v - product(v), size, 1, tol, seed)
    return float(largest - shifted[0])


def hutchinson_trace(
    product: Product, size: int, samples: int, seed: int = 0
) -> tuple[float, float]:
    """An operator's trace and its standard error, from random sign vectors; exact if diagonal.

    curvlinops (3.0) gives the trace alone, from the global generator.
    """
    rng = np.random.default_rng(seed)
    signs = (rng.choice([-1.0, 1.0], size) for _ in range(samples))
    estimates = np.array([z @ product(z) for z in signs])
    return float(estimates.mean()), float(estimates.std(ddof=1) / samples**0.5)
