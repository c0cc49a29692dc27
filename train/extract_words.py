#!/usr/bin/env python3
"""Writes data/words.txt.xz: English words of 3 to 12 letters, from the Debian package wamerican.

    /usr/bin/python3 train/extract_words.py /usr/share/dict/american-english
"""

import lzma
import re
import sys
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent / "data" / "words.txt.xz"


def main():
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    words = sorted({line for line in lines if re.fullmatch("[a-z]{3,12}", line)})
    OUTPUT.write_bytes(lzma.compress("".join(f"{word}\n" for word in words).encode(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{len(words)} words, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
