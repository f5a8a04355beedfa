"""A self-signed certificate for the farm's TLS listeners, made by the openssl program."""

import ipaddress
import shutil
import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM; whoever trusts `file` as a CA file accepts the certificate."""

    file: str
    key_file: str

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key_file)
        return context


def make_certificate(folder: Path, names: Iterable[str]) -> Certificate | None:
    """For these host names and addresses; None if there is no openssl program.

    Raises subprocess.CalledProcessError if openssl fails.
    """
    openssl = shutil.which("openssl")
    if not openssl:
        return None
    made = Certificate(str(folder / "farm.pem"), str(folder / "farm.key"))
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=fetchpool farm"]
    command += ["-addext", f"subjectAltName={','.join(map(_alternative_name, names))}"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command += ["-keyout", made.key_file, "-out", made.file]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made


def _alternative_name(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
