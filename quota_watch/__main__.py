"""`python -m quota_watch`."""

from quota_watch.cli import main

if __name__ == "__main__":
    main()
