"""What is run: a protocol (the stream, the model, the passes), a method's setting in it, and a job.

A job is one run; its key names everything that its figure depends on, so that equal keys mean equal runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import tenuto

Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """How a paper measured.

    Args:
        name: what the command line calls it.
        title: what the page calls it.
        told: what is learned and how, in a sentence or two.
        paper: whose figures they are.
        kind: a stream of `streams.KINDS`.
        contexts: how many.
        batch: fresh rows per step, where a setting names no other.
        epochs: passes over each context.
        hidden: widths of the hidden layers.
        bias: do the layers have biases?
        xavier: are the first weights Xavier's, and biases zero? Else they are as torch.nn.Linear draws them.
        normalised: are pixels centred and scaled by MNIST's mean and deviation?
        buffers: the sizes of memory in the paper's table.
        matrix: are all contexts tested after each, for backward transfer?
    """

    name: str
    title: str
    told: str
    paper: str
    kind: str
    contexts: int
    batch: int
    epochs: int = 1
    hidden: tuple[int, ...] = (100, 100)
    bias: bool = True
    xavier: bool = True
    normalised: bool = False
    buffers: tuple[int, ...] = (200, 500, 5120)
    matrix: bool = False


_LEARNED = ("name", "kind", "contexts", "batch", "epochs", "hidden", "bias", "xavier", "normalised")
"""What of a protocol a figure depends on."""
DER = "Buzzega et al., Dark Experience for General Continual Learning (2020)"
GPM = "Saha et al., Gradient Projection Memory (2021), and Lin et al., CUBER (2022)"

PROTOCOLS = {
    one.name: one
    for one in (
        Protocol(
            name="p-mnist",
            title="Permuted MNIST, 20 contexts",
            told="All 60,000 rows in each of 20 contexts, under a permutation of the pixels of its own; one "
            "pass in batches of 128 (and as many rows of each draw from memory), SGD, an MLP 784-100-100-10.",
            paper=DER,
            kind="permuted",
            contexts=20,
            batch=128,
        ),
        Protocol(
            name="r-mnist",
            title="Rotated MNIST, 20 contexts",
            told="As permuted MNIST; each context is turned by an angle of its own in [0, 180) degrees, each "
            "pixel the nearest one.",
            paper=DER,
            kind="rotated",
            contexts=20,
            batch=128,
        ),
        Protocol(
            name="s-mnist",
            title="Split MNIST, class-incremental",
            told="Five contexts of two digits each and one head of ten outputs; which context a row is from "
            "is never told when it is tested. One pass in batches of 10 (and as many rows of each draw from "
            "memory), SGD, an MLP 784-100-100-10.",
            paper=DER,
            kind="split",
            contexts=5,
            batch=10,
        ),
        Protocol(
            name="p-mnist-10",
            title="Permuted MNIST, 10 contexts",
            told="All 60,000 rows in each of 10 contexts, under a permutation of the pixels of its own; five "
            "passes in batches of 10, SGD, pixels centred and scaled, an MLP 784-100-100-10 without biases "
            "that starts as torch.nn.Linear does, one head.",
            paper=GPM,
            kind="permuted",
            contexts=10,
            batch=10,
            epochs=5,
            bias=False,
            xavier=False,
            normalised=True,
            buffers=(),
            matrix=True,
        ),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a method is given.

    Args:
        method: its name in `tenuto.methods`.
        options: its own options.
        config: settings of the learner that differ from the protocol's; `learning_rate` at least.
        mixed: are the rows of all contexts learned mixed, as one? That is joint training.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    mixed: bool = False

    def __str__(self) -> str:
        told = {**self.config, **self.options}
        return ", ".join(
            [
                self.method,
                *(
                    f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in told.items()
                ),
            ]
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Args:
        protocol: the name of one of PROTOCOLS.
        setting: what is learned with.
        seed: key of the stream, of the model and of every draw.
        data: the digest of the labels of MNIST.
        buffer: rows of memory; None: the method keeps none.
        judged: on "test" rows, or on "validation" rows held out of the training rows.
        contexts: how many of the protocol's; None: all.
        matrix: test every context after each; the figure at the end is the same.
    """

    protocol: str
    setting: Setting
    seed: int
    data: str = ""
    buffer: int | None = None
    judged: str = "test"
    contexts: int | None = None
    matrix: bool = False

    @property
    def key(self) -> str:
        """Everything that its figure depends on, as canonical JSON; equal keys, equal figures."""
        protocol = {
            name: value for name, value in asdict(PROTOCOLS[self.protocol]).items() if name in _LEARNED
        }
        job = {name: value for name, value in self.to_plain().items() if name != "matrix"}
        return json.dumps({**job, "protocol": protocol, "release": tenuto.__version__}, sort_keys=True)

    def to_plain(self) -> Plain:
        """Plain data that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Job:
        """The job that `to_plain` wrote.

        >>> job = Job(protocol="p-mnist", setting=Setting(method="er"), seed=1, buffer=200)
        >>> Job.from_plain(job.to_plain()) == job
        True
        """
        return cls(**{**plain, "setting": Setting(**plain["setting"])})
