"""Errors of the C library as exceptions (api/cvi_nn.md section 1)."""

CODES = {
    -1: "FAILURE",
    -1065910269: "INVALID_ARG",
    -1065910265: "UNINIT",
    -1065910264: "UNSUPPORT",
    -1065910260: "NOMEM",
    -1065910256: "AGAIN",
    -1065910254: "BUSY",
    -1065910251: "TIMEOUT",
    -1065910250: "DATA_ERR",
}


class CviError(RuntimeError):
    """A function of the runtime failed.

    `code` is the CVI_RC number, `name` its name ("DATA_ERR", ...), `text` the library's message
    ("" from libraries that keep none).
    """

    def __init__(self, function: str, code: int, text: str = "") -> None:
        self.function = function
        self.code = code
        self.name = CODES.get(code, "unknown")
        self.text = text
        shown = text or "no further message"
        super().__init__(f"{function}: {self.name} (0x{code & 0xFFFFFFFF:08X}): {shown}")


class LibraryNotFound(ImportError):
    """There is no usable libcviruntime."""


class ClosedError(ValueError):
    """The model (or memory) was closed."""
