import numpy as np
import pytest

from tenuto.evaluation import AccuracyMatrix, Curve, Listing, Proof, Report, Run

NAMES = ("zero", "one", "two")


def run(method: str, seed: int, kept: float) -> Run:
    values = [[0.9, 0.1, np.nan], [0.9 * kept, 0.8, 0.2], [0.9 * kept**2, 0.8 * kept, 0.7 + seed / 100]]
    loss = Curve(x=(0, 10, 20), y=(2.0, None, kept), x_label="rows seen", y_label="nats", boundaries=(10,))
    return Run(
        method=method,
        seed=seed,
        matrix=AccuracyMatrix(values=values, baseline=[0.1, 0.1, 0.1]),
        curves={"Loss": loss},
        measures={"progressive_accuracy": 0.5 + kept / 4, "retention_bits": kept, "energy": 2.0},
    )


@pytest.fixture
def report() -> Report:
    """Two methods on two seeds, everything a report can hold."""
    return Report(
        title="Three contexts",
        subtitle="Learned one after the other.",
        runs=tuple(
            run(method, seed, kept) for method, kept in [("naive", 0.1), ("er", 0.9)] for seed in (0, 1)
        ),
        joint=(0.93, 0.95),
        proofs=(
            Proof(title="Resumed", holds=True, evidence="here  ab12\nthere ab12"),
            Proof(title="Forgot", holds=False, evidence="here  ab12\nthere cd34"),
        ),
        listings=(
            Listing(
                title="Kept", head=("class", "rows"), rows=(("a <b>", "3"), ("c", "1")), shares=(0.75, 0.25)
            ),
            Listing(
                title="Apart", head=("row", "reason"), rows=(("r7", "no target"),), note="Nothing learned it."
            ),
        ),
        facts={"command": "tenuto demo --seeds 2", "python": "3.11"},
        context_names=NAMES,
    )
