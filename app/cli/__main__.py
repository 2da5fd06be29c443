"""`python -m app.cli` is `dlr`."""

from app.cli import main

if __name__ == "__main__":
    main()
