"""`python -m grokinterp` is `grokinterp`."""

from grokinterp.cli import main

if __name__ == "__main__":
    main()
