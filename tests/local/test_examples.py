"""The examples are real applications: their answers are right, and each says how it is used."""

import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from examples.text import write_text
from sparkvault.jobs import JobState
from sparkvault.targets.local.target import LocalTarget
from tests.support.local_cluster import EXAMPLES, run

_PRINTED = re.compile(r"^ *([0-9,]+)  ([a-z']+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def counted(book: Path) -> Counter[str]:
    """An independent count, character by character and without Spark or a regular expression."""
    counts: Counter[str] = Counter()
    word = ""
    for character in book.read_text(encoding="ascii").lower() + "\n":
        if "a" <= character <= "z" or (character == "'" and word):
            word += character
        elif word:
            counts[word.rstrip("'")] += 1
            word = ""
    return counts


def most_frequent(counts: Counter[str], top: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:top]


def printed(output: str) -> list[tuple[str, int]]:
    return [(word, int(count.replace(",", ""))) for count, word in _PRINTED.findall(output)]


def test_text_is_book_sized_and_always_the_same(book: Path, tmp_path: Path) -> None:
    again = write_text(tmp_path / "again.txt")
    assert again.read_bytes() == book.read_bytes()
    assert book.stat().st_size >= 2**20


def test_text_of_another_seed_is_another(tmp_path: Path) -> None:
    one, other = (write_text(tmp_path / f"{seed}.txt", 1000, seed) for seed in (1, 2))
    assert one.read_bytes() != other.read_bytes()


def test_text_has_the_word_frequencies_of_a_language(counted: Counter[str]) -> None:
    (_, first), *_, (_, hundredth) = most_frequent(counted, 100)
    assert 15 < first / hundredth < 45  # Zipf-Mandelbrot: (100 + 2.7) / (1 + 2.7) = 27.8
    assert 3000 < len(counted) <= 8000


def test_word_count_agrees_with_an_independent_count(
    target: LocalTarget, book: Path, counted: Counter[str], tmp_path: Path
) -> None:
    finished = run(target, EXAMPLES / "word_count.py", book, "--top", 15, "--output", tmp_path / "counts")
    assert finished.record.state is JobState.SUCCEEDED, finished.output
    assert printed(finished.output) == most_frequent(counted, 15)
    assert f"{counted.total():,} words, {len(counted):,} of them different" in finished.output
    written = [
        line.split("\t") for part in (tmp_path / "counts").glob("part-*") for line in part.read_text().splitlines()
    ]
    assert {word: int(count) for word, count in written} == counted
    assert len(written) == len(counted)


def test_word_count_as_a_spark_shell_script_agrees_too(target: LocalTarget, book: Path, counted: Counter[str]) -> None:
    finished = run(target, EXAMPLES / "word_count.scala", book)
    assert finished.record.state is JobState.SUCCEEDED, finished.output
    assert printed(finished.output) == most_frequent(counted, 20)
    assert f"{counted.total():,} words, {len(counted):,} of them different" in finished.output


def test_half_of_the_numbers_are_divisible_by_two(target: LocalTarget) -> None:
    finished = run(target, EXAMPLES / "divisible_by_two.py", 100_001)
    assert "50,001 of the 100,001 numbers from 0 are divisible by two" in finished.output


def test_pi_is_found_by_sampling(target: LocalTarget) -> None:
    finished = run(target, EXAMPLES / "pi.py", "--samples", 200_000)
    found = re.search(r"pi is roughly (3\.\d{6})", finished.output)
    assert found, finished.output
    # Five standard deviations of 4 * Binomial(n, pi/4) / n; the seed is fixed, so it never flickers.
    assert float(found[1]) == pytest.approx(math.pi, abs=5 * math.sqrt(math.pi * (4 - math.pi) / 200_000))


@pytest.mark.parametrize("name", ["word_count.py", "divisible_by_two.py", "pi.py", "text.py"])
def test_each_example_says_how_it_is_used(name: str) -> None:
    answer = subprocess.run(
        [sys.executable, str(EXAMPLES / name), "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout.startswith("usage:")
    assert "examples/" in answer.stdout
