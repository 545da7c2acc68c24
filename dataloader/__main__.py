"""Make ``python -m dataloader`` the same as the command ``dataloader``."""

from dataloader.cli import main

main()
