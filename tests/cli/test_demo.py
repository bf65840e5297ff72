"""The demo: what it shows, that its proofs can fail, and what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.studies import demo, proofs
from tests.cli.conftest import ENVIRONMENT, document, tenuto


def test_the_demo_proves_what_it_claims(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    page = tmp_path / "report.html"
    done = tenuto("demo", "--out", page, "--seed", "7", "--json")
    assert done.returncode == 0, done.stderr
    told = document(done)
    killed, forgot = told["proofs"]
    assert killed["holds"]
    assert forgot["holds"]
    assert "by SIGKILL" in killed["evidence"]
    accuracy = {row["method"]: row["average_accuracy"] for row in told["summary"]}
    assert accuracy["naive"] < 0.3 < 0.7 < min(accuracy["er"], accuracy["derpp"]) < accuracy["joint training"]
    assert page.read_text().count("<article") == 2
    assert told["seconds"] < 60


def test_a_proof_that_does_not_hold_is_told(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    contexts = demo.digits(0, batch=10)
    subject = proofs.Subject(
        contexts=contexts, method="er", options={}, config=demo.SETTINGS, digest="0" * 64
    )
    remarks: list[str] = []
    _, proof = proofs.resumed(tmp_path, subject, lambda done, total, remark: remarks.append(remark))
    assert not proof.holds
    assert remarks[-1] == "resumed, to ANOTHER digest"
    assert proof.evidence.count("0" * 64) == 1


def test_without_scikit_learn_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['sklearn'] = None; from tenuto.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--out", str(tmp_path / "r.html")],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("pip install 'tenuto[demo]'\n")
    assert os.listdir(tmp_path) == []
