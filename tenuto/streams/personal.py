"""Personal data in a text: e-mail addresses, phone numbers and card numbers, found by their form.

It is a net with holes, and made to be exchanged: names, addresses and secrets pass it. A hook is any callable
that answers with what it found, in words that quote nothing, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Hook = Callable[[str], str | None]
"""What is wrong with a text, in words that may be kept where the text may not; None: nothing."""
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)
CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d])")
PHONE = re.compile(
    r"(?<![\w.+-])(?<!\d[ .-])(?:\+\d(?:[ ./()-]{0,2}\d){7,14}"  # +44 20 7946 0958
    r"|\(0?\d{2,4}\)[ ./-]?\d{3,4}[ ./-]?\d{3,5}"  # (020) 7946 0958
    r"|\d{3}[ .-]\d{3}[ .-]\d{4}"  # 555-010-9999
    r"|0\d{2,4}[ /-]\d{3,4}(?:[ /-]?\d{2,5})?)(?![\w-])"  # 030 12345678
)


def personal(text: str) -> str | None:
    """What personal data a text seems to hold.

    >>> personal("write to ann@example.org"), personal("call +44 20 7946 0958")
    ('it holds an e-mail address', 'it holds a phone number')
    >>> personal("pay with 4539 1488 0343 6467"), personal("In 1969, 3,000,000 watched; 4539 1488 0343 6468")
    ('it holds a card number', None)
    """
    if EMAIL.search(text):
        return "it holds an e-mail address"
    if any(luhn(found.group()) for found in CARD.finditer(text)):
        return "it holds a card number"
    return "it holds a phone number" if PHONE.search(text) else None


def luhn(number: str) -> bool:
    """Do the digits of a number meet the check that card numbers meet?

    >>> luhn("4539 1488 0343 6467"), luhn("4539 1488 0343 6468")
    (True, False)
    """
    digits = [int(digit) for digit in number if digit.isdigit()][::-1]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
