"""The texts on which embeddings are compared: the 1,000 committed ones, and others' found on this machine.

Others' texts are read where they lie and not kept here: English news, discussions, film reviews and Bulgarian articles from
the test data of the package gensim (which `tests/quality` downloads), translated messages of installed programs, and the
lines of this repository's own documents and sources.
"""

import bz2
import gettext
import json
import random
import re
import subprocess
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
DATASETS = Path.home() / ".cache/treeline/datasets"
MESSAGES = Path("/usr/share/locale")
SEED = 20_261_125
TEXT_CHARACTERS = (2, 2000)
"""Shorter lines say nothing; of longer ones the model reads no more."""


def committed():
    return json.loads((REPOSITORY / "tests/vectors/embeddings-1000.json").read_text("utf-8"))


def paragraphs_and_sentences(text):
    """Each line, and each sentence of it."""
    for line in text.splitlines():
        yield line
        yield from re.split(r"(?<=[.!?])\s+", line)


def news_and_articles():
    archives = sorted(DATASETS.glob("gensim-*.whl"))
    if not archives:
        return
    with zipfile.ZipFile(archives[-1]) as archive:
        read = lambda name: archive.read(f"gensim/test/test_data/{name}")
        for name in ("lee_background.cor", "lee.cor", "mini_newsgroup", "pang_lee_polarity.cor"):
            yield from paragraphs_and_sentences(read(name).decode("latin1"))
        articles = bz2.decompress(read("bgwiki-latest-pages-articles-shortened.xml.bz2")).decode("utf-8", "replace")
        yield from paragraphs_and_sentences(re.sub(r"<[^>]*>|\[\[|\]\]|\{\{|\}\}|'''?", "", articles))


def translations():
    for path in sorted(MESSAGES.glob("*/LC_MESSAGES/*.mo")):
        if path.name.startswith("iso_"):
            continue  # Names of countries and languages, by the thousand.
        try:
            with path.open("rb") as file:
                catalogue = gettext.GNUTranslations(file)._catalog
        except (OSError, ValueError, LookupError):
            continue  # A catalogue that Python cannot read.
        yield from (text for key, text in catalogue.items() if key and isinstance(text, str))


def own_lines():
    command = ["git", "-C", str(REPOSITORY), "ls-files", "*.md", "*.rs", "*.go", "*.ts", "*.py", "*.sql", "*.yaml"]
    for name in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
        path = REPOSITORY / name
        if path.is_file():
            yield from path.read_text("utf-8", "replace").splitlines()


def sample(texts, count):
    """`count` different ones of usual length, the same ones in every run on the same texts."""
    least, most = TEXT_CHARACTERS
    different = dict.fromkeys(text.strip()[:most] for text in texts)
    kept = [text for text in different if len(text) >= least]
    return random.Random(SEED).sample(kept, min(count, len(kept)))


def large_set(count):
    """Named lists of texts: the committed ones, and `count` of each other kind."""
    kinds = {
        "news, reviews, articles": news_and_articles,
        "translated messages": translations,
        "code and documents": own_lines,
    }
    return {"committed": committed()} | {name: sample(read(), count) for name, read in kinds.items()}
