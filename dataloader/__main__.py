"""Lets ``python -m dataloader`` do what the command ``dataloader`` does."""

from dataloader.cli import main

main()
