"""Instruction words, streams, timing and checks of CV183x, CV182x, CV181x and CV180x."""
