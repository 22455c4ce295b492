"""Passes over Top graphs: one per file, each a function run(graph) that is usable alone;
pipeline.py fixes the order.
"""
