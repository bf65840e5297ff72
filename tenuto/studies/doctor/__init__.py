"""The doctor: reads a learner, or a home, and names what is wrong, with the evidence and a remedy.

Each file in `checks` looks at one organ and is found by listing the folder. Looking changes nothing.
"""

from __future__ import annotations

from tenuto.parts import find, names
from tenuto.studies.doctor.patient import Finding, Patient

__all__ = ["Finding", "Patient", "examine"]


def examine(patient: Patient) -> list[Finding]:
    """Every finding of every check, the critical ones first.

    >>> from tenuto import Learner
    >>> examine(Patient(Learner()))
    []
    """
    checks = f"{__name__}.checks"
    found = [finding for name in names(checks) for finding in find(checks, "check", name).findings(patient)]
    return sorted(found, key=lambda finding: finding.severity != "critical")
