"""Personal data is found by its form, ordinary numbers are not taken for it, and nothing of it is quoted."""

from __future__ import annotations

import pytest

from tenuto.streams.personal import luhn, personal

MAIL = ["ann@example.org", "Write to a.b+c@mail.example.co.uk, please.", "ANN@EXAMPLE.COM"]
PHONE = ["+44 20 7946 0958", "+1 (555) 010-9999", "(020) 7946 0958", "555-010-9999", "call 030 12345678 now"]
CARD = ["4539 1488 0343 6467", "5555-5555-5555-4444", "378282246310005"]
NONE = [
    "In 1969 about 600,000,000 people watched.",
    "It is 3.14159265358979 or so, at 12:30 on 2024-05-17.",
    "The population was 1 234 567 in 2001 and 2 345 678 in 2011.",
    "Version 1.2.3.4 of the software; order 4539 1488 0343 6468.",
    "The @ sign, an e-mail, and user@localhost.",
    "He ran 100 m in 9.58 s and 200 m in 19.19 s.",
]


@pytest.mark.parametrize(
    ("text", "found"),
    [(text, "an e-mail address") for text in MAIL]
    + [(text, "a phone number") for text in PHONE]
    + [(text, "a card number") for text in CARD],
)
def test_what_is_personal_is_found_and_not_quoted(text: str, found: str) -> None:
    assert personal(f"It is {text}") == f"it holds {found}"


@pytest.mark.parametrize("text", NONE)
def test_ordinary_numbers_are_not_taken_for_it(text: str) -> None:
    assert personal(text) is None


def test_the_check_digit_catches_every_single_wrong_digit() -> None:
    number = "4539148803436467"
    assert luhn(number)
    for place, digit in enumerate(number):
        for other in "0123456789".replace(digit, ""):
            assert not luhn(number[:place] + other + number[place + 1 :])
