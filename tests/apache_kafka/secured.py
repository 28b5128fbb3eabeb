"""A listener that asks for a login over TLS, with a certificate of an authority that nobody else knows."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

USER, PASSWORD = "polyvox", "not-to-be-logged"
STORE_PASSWORD = "changeit"
MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True)
class Identity:
    """What the broker shows to its clients: its key, and in PEM the authority that vouches for it, which is itself."""

    keystore: Path
    ca_file: Path

    @classmethod
    def make(cls, directory: Path, java: str) -> Identity:
        """A new one, for loopback."""
        made = cls(directory / "broker.p12", directory / "ca.pem")
        keytool = Path(java).resolve().with_name("keytool")
        store = ("-keystore", str(made.keystore), "-storepass", STORE_PASSWORD, "-alias", "broker")
        names = ("-dname", "CN=broker", "-ext", "SAN=ip:127.0.0.1", "-ext", "BC=ca:true")
        for command in (
            ("-genkeypair", "-keyalg", "RSA", "-storetype", "PKCS12", "-validity", "2", *names),
            ("-exportcert", "-rfc", "-file", str(made.ca_file)),
        ):
            subprocess.run((str(keytool), *command, *store), check=True, capture_output=True, timeout=60)
        return made

    def properties(self, listener: str) -> Mapping[str, str]:
        """Of the broker, for its listener of this name."""
        prefix = f"listener.name.{listener.lower()}"
        module = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return {
            f"{prefix}.sasl.enabled.mechanisms": MECHANISM,
            f"{prefix}.{MECHANISM.lower()}.sasl.jaas.config": f"{module} required;",
            f"{prefix}.ssl.keystore.type": "PKCS12",
            f"{prefix}.ssl.keystore.location": str(self.keystore),
            f"{prefix}.ssl.keystore.password": STORE_PASSWORD,
        }
