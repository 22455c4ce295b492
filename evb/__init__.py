"""Tools for evaluation boards: deploy, run, console, doctor."""
