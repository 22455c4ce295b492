"""Model files: `.cvimodel` reader, writer and tools (formats/cvimodel.md)."""
