"""Fresh ed25519 keys for a virtual board, in the forms that dropbear and OpenSSH read."""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from .errors import BoardError


def _string(data: bytes) -> bytes:
    """An SSH string: 32-bit length, then the bytes."""
    return struct.pack(">I", len(data)) + data


@dataclass(frozen=True)
class Key:
    """A key pair: `private` is the 32-byte seed."""

    private: bytes
    public: bytes

    def blob(self) -> bytes:
        """The public key as it travels: string "ssh-ed25519", string of 32 bytes."""
        return _string(b"ssh-ed25519") + _string(self.public)

    def fingerprint(self) -> str:
        return fingerprint(self.blob())

    def authorized(self, comment: str) -> str:
        """One line for authorized_keys."""
        return f"ssh-ed25519 {base64.b64encode(self.blob()).decode()} {comment}\n"

    def dropbear(self) -> bytes:
        """dropbear's host key file: string "ssh-ed25519", string of seed and public key."""
        return _string(b"ssh-ed25519") + _string(self.private + self.public)

    def openssh(self, comment: str = "") -> str:
        """An unencrypted OpenSSH private key file."""
        check = hashlib.sha256(self.private).digest()[:4]
        inner = check + check + self.blob() + _string(self.private + self.public)
        inner += _string(comment.encode())
        inner += bytes(range(1, 1 + -len(inner) % 8))
        body = b"openssh-key-v1\0" + _string(b"none") + _string(b"none") + _string(b"")
        body += struct.pack(">I", 1) + _string(self.blob()) + _string(inner)
        text = base64.b64encode(body).decode()
        lines = "\n".join(text[i : i + 70] for i in range(0, len(text), 70))
        return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n"


def new_key() -> Key:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise BoardError(
            "the package `cryptography` is missing: pip install 'tpuforge[evb]'"
        ) from None
    private = Ed25519PrivateKey.generate()
    return Key(private.private_bytes_raw(), private.public_key().public_bytes_raw())


def fingerprint(blob: bytes) -> str:
    """OpenSSH's form: SHA256: and the unpadded base64 of the hash of the public key."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
