"""`python -m biosig_cli` is `biosig`."""

from biosig_cli.cli import main

main()
