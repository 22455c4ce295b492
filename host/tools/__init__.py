"""The commands: one thin file per tool; no logic of its own."""
