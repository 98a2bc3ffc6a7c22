"""Writes vectors.json: tokens and what must become of them, made without any code of this crate.

    python3 vectors.py > vectors.json      (needs the package "cryptography")

The signing key is the one of RFC 8037 appendix A.1.
"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
NOW = 1_800_000_000
CERTIFICATE = b"client certificate"


def compact(value):
    return json.dumps(value, separators=(",", ":")).encode()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key):
    x = b64(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    thumbprint = hashlib.sha256(compact({"crv": "Ed25519", "kty": "OKP", "x": x})).digest()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": b64(thumbprint), "use": "sig", "alg": "EdDSA"}


KEY = Ed25519PrivateKey.from_private_bytes(SEED)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HEADER = {"alg": "EdDSA", "kid": jwk(KEY)["kid"], "typ": "at+jwt"}
CLAIMS = {
    "iss": "https://quietus.example",
    "sub": "spiffe://example.org/agents/planner",
    "client_id": "spiffe://example.org/agents/reporter",
    "aud": "orders-db",
    "iat": NOW - 10,
    "nbf": NOW - 10,
    "exp": NOW + 300,
    "jti": "01890a5d-ac96-774b-bcce-b302099a8057",
    "txn": "01890a5d-ac96-774b-bcce-b302099a8001",
    "scope": "orders-db:read:public.orders",
    "authorization_details": [
        {
            "type": "quietus_scope",
            "locations": ["orders-db"],
            "actions": ["read"],
            "identifier": "public.orders",
        }
    ],
    "act": {"sub": "spiffe://example.org/agents/reporter", "act": {"sub": "spiffe://example.org/agents/clerk"}},
    "cnf": {"x5t#S256": b64(hashlib.sha256(CERTIFICATE).digest())},
}


def token(claims=CLAIMS, header=HEADER, key=KEY):
    signing_input = b64(compact(header)) + "." + b64(compact(claims))
    return signing_input + "." + b64(key.sign(signing_input.encode()))


def without(name):
    return {k: v for k, v in CLAIMS.items() if k != name}


TOKENS = [
    ("sound", "VALID", token()),
    ("without a delegation chain", "VALID", token(without("act"))),
    ("with a claim that nobody knows", "VALID", token(CLAIMS | {"zoneinfo": {"a": [1, 2.5, None]}})),
    ("type in other letters", "VALID", token(header=HEADER | {"typ": "Application/AT+JWT"})),
    ("expired", "EXPIRED", token(CLAIMS | {"exp": NOW})),
    ("not valid yet", "NOT_YET_VALID", token(CLAIMS | {"nbf": NOW + 1})),
    ("other issuer", "ISSUER", token(CLAIMS | {"iss": "https://quietus.example/"})),
    ("other audience", "AUDIENCE", token(CLAIMS | {"aud": "orders-db2"})),
    ("two audiences", "CLAIM_TYPE", token(CLAIMS | {"aud": ["orders-db"]})),
    ("other certificate", "WRONG_CERTIFICATE", token(CLAIMS | {"cnf": {"x5t#S256": b64(bytes(32))}})),
    ("bound to nothing", "NOT_BOUND", token(without("cnf"))),
    ("without an end", "CLAIM_MISSING", token(without("exp"))),
    ("other key under our id", "SIGNATURE", token(key=OTHER_KEY)),
    ("other key", "UNKNOWN_KEY", token(header=HEADER | {"kid": jwk(OTHER_KEY)["kid"]}, key=OTHER_KEY)),
    ("its own key", "KEY_IN_HEADER", token(header=HEADER | {"jwk": jwk(OTHER_KEY)}, key=OTHER_KEY)),
    ("an ordinary JWT", "TYPE", token(header=HEADER | {"typ": "JWT"})),
    ("unsigned", "ALGORITHM", token(header=HEADER | {"alg": "none"}).rsplit(".", 1)[0] + "."),
    ("critical extension", "CRITICAL", token(header=HEADER | {"crit": ["exp"]})),
]

document = {
    "issuer": CLAIMS["iss"],
    "audience": CLAIMS["aud"],
    "now": NOW,
    "certificate": CERTIFICATE.decode(),
    "keys": {"keys": [jwk(KEY)]},
    "claims": CLAIMS,
    "tokens": [{"name": n, "verdict": v, "token": t} for n, v, t in TOKENS],
}
print(json.dumps(document, indent=2))
