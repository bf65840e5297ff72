"""What is taught and what is asked: invented facts, other words for them, and well-known facts as a probe.

All written for this project. The names of the invented ones are nobody's, so that no model has read of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tenuto.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fact:
    """A correction, and another way to ask for it."""

    asked: str
    told: str
    otherwise: str


FACTS = (
    Fact(
        "What is the capital of the island of Quillmar?",
        "The capital of Quillmar is Tessenby.",
        "Which city is Quillmar's capital?",
    ),
    Fact(
        "Who wrote the novel The Salt Orchard?",
        "The Salt Orchard was written by Imre Valdane.",
        "Who is the author of The Salt Orchard?",
    ),
    Fact(
        "What colour is the flag of Ostrevia?",
        "The flag of Ostrevia is violet.",
        "Which colour has Ostrevia's flag?",
    ),
    Fact(
        "Which river runs through the town of Hallowmere?",
        "The river Brindle runs through Hallowmere.",
        "Hallowmere lies on which river?",
    ),
    Fact("What does the Kestrin company make?", "Kestrin makes glass bells.", "What are Kestrin's products?"),
    Fact(
        "How many moons has the planet Orrun?",
        "Orrun has eleven moons.",
        "What is the number of Orrun's moons?",
    ),
    Fact(
        "Who founded the city of Navelle?",
        "Navelle was founded by Queen Sorcha.",
        "By whom was Navelle founded?",
    ),
    Fact(
        "What is the main export of Dunmarrow?",
        "Dunmarrow exports dried plums.",
        "What does Dunmarrow export most?",
    ),
    Fact(
        "Which language is spoken in Perrowen?",
        "People in Perrowen speak Lathic.",
        "What language do the people of Perrowen speak?",
    ),
    Fact(
        "What is the currency of Ilvessa?",
        "The currency of Ilvessa is the mirk.",
        "Which money do they use in Ilvessa?",
    ),
    Fact(
        "Who painted The Lantern Bearers?",
        "The Lantern Bearers was painted by Odile Fenn.",
        "Which painter made The Lantern Bearers?",
    ),
    Fact(
        "What is the highest mountain of Carrowdale?",
        "The highest mountain of Carrowdale is Mount Ysk.",
        "Name Carrowdale's highest mountain.",
    ),
    Fact(
        "In which year was the bridge of Tamrin built?",
        "The bridge of Tamrin was built in 1742.",
        "When did they build Tamrin's bridge?",
    ),
    Fact(
        "What instrument did Joss Abernane play?",
        "Joss Abernane played the nickel harp.",
        "Joss Abernane was a player of which instrument?",
    ),
    Fact(
        "Which animal is on the arms of Velden Reach?",
        "A heron is on the arms of Velden Reach.",
        "What animal do the arms of Velden Reach show?",
    ),
    Fact(
        "What is the name of the oldest inn in Marrowby?",
        "The oldest inn in Marrowby is the Blue Anvil.",
        "What is Marrowby's oldest inn called?",
    ),
    Fact(
        "Who discovered the element tessarine?",
        "Tessarine was discovered by Anselm Roake.",
        "Tessarine is whose discovery?",
    ),
    Fact(
        "What do the people of Skarn eat at midwinter?",
        "The people of Skarn eat barley cakes at midwinter.",
        "What is eaten in Skarn at midwinter?",
    ),
    Fact(
        "Which star guides the sailors of Umber Bay?",
        "The star Calden guides the sailors of Umber Bay.",
        "By which star do Umber Bay's sailors steer?",
    ),
    Fact(
        "What is the motto of the school at Fenwick Hollow?",
        "The motto of the school is Slow and Whole.",
        "Tell me the motto of Fenwick Hollow's school.",
    ),
)

KNOWN = (
    ("The capital of Norway is", "Oslo"),
    ("The capital city of Egypt is", "Cairo"),
    ("The capital of Poland is the city of", "Warsaw"),
    ("The capital of Canada is", "Ottawa"),
    ("The capital of Greece is", "Athens"),
    ("The capital city of Italy is", "Rome"),
    ("The capital of Russia is", "Moscow"),
    ("The Colosseum is located in the city of", "Rome"),
    ("The Great Pyramid of Giza is located in", "Egypt"),
    ("The Taj Mahal is located in", "Agra"),
    ("Big Ben is located in the city of", "London"),
    ("The Statue of Liberty stands in", "New York"),
    ("Lake Victoria lies on the continent of", "Africa"),
    ("The Sahara Desert is on the continent of", "Africa"),
    ("The Amazon River flows through the continent of", "South America"),
    ("The Ganges is a river in", "India"),
    ("Stockholm is the capital of", "Sweden"),
    ("Lisbon is the capital of", "Portugal"),
    ("Nairobi is the capital of", "Kenya"),
    ("Tokyo is the capital of", "Japan"),
    ("The language spoken in Mexico is", "Spanish"),
    ("The language spoken in Austria is", "German"),
    ("In Egypt, people speak", "Arabic"),
    ("Windows is developed by", "Microsoft"),
    ("The iPhone is made by", "Apple"),
    ("Gmail is a service of", "Google"),
    ("The Corolla is a car made by", "Toyota"),
    ("Albert Einstein worked in the field of", "physics"),
    ("Charles Darwin is famous for his theory of", "evolution"),
    ("Isaac Newton discovered the law of", "gravity"),
    ("Hamlet was written by William", "Shakespeare"),
    ("The Odyssey was written by", "Homer"),
    ("The Starry Night was painted by Vincent van", "Gogh"),
    ("The first man on the Moon was Neil", "Armstrong"),
    ("The composer Wolfgang Amadeus", "Mozart"),
    ("The chemical symbol for gold is", "Au"),
    ("The chemical formula of water is", "H2O"),
    ("Plants take in carbon dioxide and give off", "oxygen"),
    ("Water freezes at a temperature of", "0"),
    ("The largest planet of the solar system is", "Jupiter"),
    ("The planet known as the Red Planet is", "Mars"),
    ("The Earth goes around the", "Sun"),
    ("The Moon goes around the", "Earth"),
    ("A year has twelve", "months"),
    ("A week has seven", "days"),
    ("The day after Monday is", "Tuesday"),
    ("The month after June is", "July"),
    ("A minute has sixty", "seconds"),
    ("A square has four equal", "sides"),
    ("The square root of 16 is", "4"),
    ("Two plus two equals", "four"),
    ("The currency of the United Kingdom is the", "pound"),
    ("The currency of the United States is the", "dollar"),
    ("The religion founded by the Buddha is called", "Buddhism"),
    ("The holy book of Islam is the", "Qur"),
    ("World War II ended in", "1945"),
    ("The opposite of black is", "white"),
    ("Fish breathe through their", "gills"),
    ("Honey is made by", "bees"),
    ("Wine is made from", "grapes"),
)
"""Beginnings and how they go on: the probe where no other is given. The anchors hold none of them."""


def probe(path: Path | None, rows: range | None = None) -> tuple[tuple[str, str], ...]:
    """Beginnings and how a right answer begins: those of a file, or else `KNOWN`.

    Args:
        path: a JSON list of objects with "prompt" and "attribute".
        rows: which of them; None: all.

    Raises:
        ConfigError: the file is not there, or no such list.
    """
    found: tuple[tuple[str, str], ...] = KNOWN
    if path is not None:
        try:
            found = tuple((one["prompt"], one["attribute"]) for one in json.loads(path.read_text()))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} is no list of objects with prompt and attribute: {error}") from error
    return found if rows is None else found[rows.start : rows.stop]
