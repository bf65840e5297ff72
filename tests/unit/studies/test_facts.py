"""The study of invented facts: what is asked, how it is judged, and that a stopped one goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from tenuto.cli.bench import command
from tenuto.errors import ConfigError
from tenuto.evaluation import render
from tenuto.session.openings import QUESTIONS, SENTENCES
from tenuto.studies.facts import stories, telling
from tenuto.studies.facts.asking import begins, say
from tenuto.studies.facts.teaching import Job, Voice, digest, made, teach
from tests.data import folder

BEGUN = ("Once upon a time there was a", "The dog ran to the", "Lily was very", "Tom had a big")


@pytest.fixture(scope="module")
def probe() -> tuple[tuple[str, str], ...]:
    model = made(str(folder("stories260K")), "float32", seed=0)
    said = say(model, [[("text", text)] for text in BEGUN], 8)
    return tuple((text, " ".join(words.split()[:2])) for text, words in zip(BEGUN, said, strict=True))


def test_what_was_learned_is_judged_alone_and_through_the_router(probe: Any) -> None:
    job = Job(
        method="anchored", seed=1, facts=2, model=str(folder("stories260K")), precision="float32", every=1
    )
    voice, told = Voice(job.model, probe), []
    assert len(voice.right) == len(BEGUN)
    found = teach(job, voice, lambda job, number: told.append(number))
    assert told == [1, 2]
    assert [point["facts"] for point in found["curve"]] == [1, 2]
    assert len(found["seconds"]) == len(found["updates"]) == 2
    assert all(1 <= count <= 20 for count in found["updates"])
    routed, alone = found["routed"], found["alone"]
    assert {"recalled", "otherwise", "kept", "same"} == alone.keys()
    assert routed["same"] >= 1 - routed["let_in"]
    assert Job.from_plain(json.loads(json.dumps(job.to_plain()))) == job


def test_a_base_beside_a_fresh_adapter_has_forgotten_nothing(probe: Any) -> None:
    voice = Voice(str(folder("stories260K")), probe)
    again = say(voice.model, voice.asked, 8)
    assert voice.known(again) == {"kept": 1.0, "same": 1.0}
    with torch.no_grad():
        for name, one in voice.model.named_parameters():
            one += 5.0 if "lora_B" in name else 0.0
    assert voice.known(say(voice.model, voice.asked, 8))["same"] < 1.0
    assert say(voice.model, voice.asked, 8, bare=True) == voice.before


def test_side_by_side_or_alone_the_same_is_said() -> None:
    model = made(str(folder("stories260K")), "float32", seed=0)
    asked: Any = [[("text", text)] for text in BEGUN]
    assert say(model, asked, 8) == [say(model, [one], 8)[0] for one in asked]


def test_facts_are_nobodys_and_the_anchors_hold_none_of_the_probe() -> None:
    assert len({fact.asked for fact in stories.FACTS}) == 20
    anchored = {text.lower() for text in (*SENTENCES, *QUESTIONS)}
    asked = {text.lower() for text, _ in stories.KNOWN}
    assert not anchored & asked
    assert not {fact.asked.lower() for fact in stories.FACTS} & anchored
    assert begins(" Oslo is", "oslo")
    assert not begins("In Oslo", "oslo")


def test_a_probe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "probe.json"
    path.write_text(json.dumps([{"prompt": f"p{n}", "attribute": str(n), "more": 1} for n in range(9)]))
    assert stories.probe(path, range(2, 4)) == (("p2", "2"), ("p3", "3"))
    assert stories.probe(None) == stories.KNOWN
    assert digest(stories.probe(path)) != digest(stories.probe(path, range(2, 4)))
    path.write_text('[{"prompt": "p"}]')
    with pytest.raises(ConfigError, match="no list of objects"):
        stories.probe(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        stories.probe(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="answers nothing of the probe"):
        Voice(str(folder("stories260K")), [("Once", "never said")])


def outcome(recalled: int, kept: float, **more: Any) -> dict[str, Any]:
    judged = {"recalled": recalled, "otherwise": 1, "kept": kept, "same": kept / 2}
    curve = [{"facts": 2, **judged}, {"facts": 4, **judged}]
    return {"alone": judged, "curve": curve, "seconds": [1.0, 3.0], "updates": [7, 9], "ready": 1.0, **more}


def test_lines_are_over_seeds_and_a_page_is_drawn() -> None:
    routed = {"recalled": 4, "otherwise": 2, "kept": 1.0, "same": 1.0, "let_in": 0.01}
    found = [
        (Job(method="naive", seed=0, facts=4), outcome(1, 0.2)),
        (Job(method="naive", seed=1, facts=4), outcome(2, 0.4)),
        (Job(method="anchored", seed=0, facts=4), outcome(4, 0.9, routed=routed)),
    ]
    naive, alone, whole = telling.lines(found)
    assert (naive["recalled"], naive["kept"], naive["updates"]) == ([1, 2], [0.2, 0.4], 16)
    assert telling.cells(naive)[1] == "1 to 2 / 4"
    assert telling.cells(naive)[3].startswith("30.0 ±")
    assert (alone["kept"], whole["kept"], whole["let_in"]) == ([0.9], [1.0], [0.01])
    page = render(telling.report(found, "The base answers 3 of 4.", {"version": "x"}))
    assert "naive LoRA" in page
    assert "The base answers 3 of 4." in page


def test_the_verb_tells_and_goes_on_where_it_was(tmp_path: Path, probe: Any) -> None:
    asked, out = tmp_path / "probe.json", tmp_path / "out"
    asked.write_text(json.dumps([{"prompt": p, "attribute": a} for p, a in probe]))
    words = [
        "facts",
        "--facts",
        "1",
        "--methods",
        "naive",
        "--seeds",
        "3",
        "--model",
        str(folder("stories260K")),
    ]
    words += ["--precision", "float32", "--probe", str(asked), "--out", str(out)]
    first = CliRunner().invoke(command, words)
    assert first.exit_code == 0, first.output
    assert "naive LoRA" in first.output
    assert "answers 4 of 4 beginnings right" in first.output
    assert (out / "facts.png").stat().st_size > 10_000
    kept = (out / "results.jsonl").read_bytes()
    again = CliRunner().invoke(command, [*words, "--json"])
    assert json.loads(again.output)["lines"][0]["seeds"] == [3]
    assert (out / "results.jsonl").read_bytes() == kept
    assert CliRunner().invoke(command, [*words, "--rows", "all"]).exit_code == 2
