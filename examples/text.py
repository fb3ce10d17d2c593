"""Write a book-sized text to count the words of: always the same for the same seed, and nobody's but ours.

    python examples/text.py book.txt --mebibytes 2

Words are made of syllables, and their frequencies follow Zipf's law, as those of real texts do: the word of rank r
comes up in proportion to 1 / (r + 2.7) (Mandelbrot's form, with his offset).
"""

import argparse
import itertools
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from random import Random

#: The most frequent words, in the order of their rank. The rest is made of syllables.
COMMON = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "in",
    "is",
    "it",
    "that",
    "he",
    "was",
    "for",
    "on",
    "with",
    "as",
    "his",
    "they",
    "be",
    "at",
    "one",
    "have",
    "this",
    "from",
    "or",
    "had",
    "by",
    "not",
    "but",
    "what",
    "all",
    "were",
    "we",
    "when",
    "your",
    "can",
    "said",
    "there",
    "an",
    "each",
    "which",
    "she",
    "do",
    "how",
    "their",
    "if",
    "will",
    "up",
    "other",
    "about",
    "out",
    "many",
    "then",
    "them",
    "these",
    "so",
    "some",
    "her",
    "would",
    "make",
    "like",
    "him",
    "into",
    "time",
    "has",
    "look",
    "two",
    "more",
    "write",
    "go",
    "see",
    "number",
    "no",
    "way",
    "could",
    "people",
    "my",
    "than",
    "first",
    "water",
    "been",
    "call",
    "who",
    "its",
    "now",
    "find",
    "long",
    "down",
    "day",
    "did",
    "get",
    "come",
    "made",
    "may",
    "part",
    "cluster",
    "worker",
    "master",
    "spark",
    "don't",
    "it's",
]
ONSETS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gr",
    "h",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "w",
)
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ou", "oo")
CODAS = ("", "", "l", "m", "n", "nd", "r", "rt", "s", "st", "ck", "th")
VOCABULARY = 8000

_ZIPF_OFFSET = 2.7
_LINE_WIDTH = 80
_MIB = 2**20


def vocabulary(size: int, random: Random) -> list[str]:
    """So many different words, the common ones first."""
    words = dict.fromkeys(COMMON)
    while len(words) < size:
        syllables = random.choices((1, 2, 3), (3, 5, 2))[0]
        words["".join(random.choice(part) for _ in range(syllables) for part in (ONSETS, NUCLEI, CODAS))] = None
    return list(words)[:size]


def chapters(seed: int) -> Iterator[str]:
    """Chapters without end."""
    random = Random(seed)  # noqa: S311 -- the same text every time is the point
    words = vocabulary(VOCABULARY, random)
    weights = list(itertools.accumulate(1 / (rank + _ZIPF_OFFSET) for rank in range(1, len(words) + 1)))

    def phrase(least: int, most: int) -> list[str]:
        return random.choices(words, cum_weights=weights, k=random.randint(least, most))

    def sentence() -> str:
        clauses = [" ".join(phrase(3, 9)) for _ in range(random.choices((1, 2, 3), (6, 3, 1))[0])]
        text = random.choice((", ", "; ", ", ")).join(clauses)
        return text[0].upper() + text[1:] + random.choices((".", "?", "!"), (18, 1, 1))[0]

    for number in itertools.count(1):
        title = " ".join(word.capitalize() for word in phrase(2, 4))
        paragraphs = (" ".join(sentence() for _ in range(random.randint(2, 8))) for _ in range(random.randint(12, 30)))
        body = "\n\n".join(textwrap.fill(paragraph, _LINE_WIDTH) for paragraph in paragraphs)
        yield f"Chapter {number}: {title}\n\n{body}\n\n\n"


def write_text(path: Path, size: int = 2 * _MIB, seed: int = 1) -> Path:
    """Write a text of at least ``size`` bytes, ending with a whole chapter; its folder must exist."""
    written = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        for chapter in chapters(seed):
            written += file.write(chapter)
            if written >= size:
                return path
    raise AssertionError("chapters come without end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--mebibytes", type=float, default=2.0, help="size at least (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed gives another text (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        write_text(arguments.path, int(arguments.mebibytes * _MIB), arguments.seed)
    except OSError as error:
        sys.exit(f"cannot write {arguments.path}: {error.strerror}")


if __name__ == "__main__":
    main()
