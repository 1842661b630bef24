"""Makes keys on the service that the environment names, or sees that keys made earlier still do what they did.

keys.py make FILE    makes keys, uses them, and writes what came of it
keys.py check FILE   decrypts and verifies what was written
"""

import base64
import json
import sys

import boto3
from botocore.config import Config

KINDS = {
    "SYMMETRIC_DEFAULT": ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"),
    "RSA_2048": ("ENCRYPT_DECRYPT", "RSAES_OAEP_SHA_256"),
    "ECC_NIST_P256": ("SIGN_VERIFY", "ECDSA_SHA_256"),
    "HMAC_256": ("GENERATE_VERIFY_MAC", "HMAC_SHA_256"),
}
TEXT = b"kept through restarts"

kms = boto3.client("kms", config=Config(connect_timeout=5, read_timeout=20))


def use(key, usage, algorithm):
    """What the key makes of the text."""
    if usage == "ENCRYPT_DECRYPT":
        return kms.encrypt(KeyId=key, Plaintext=TEXT, EncryptionAlgorithm=algorithm)["CiphertextBlob"]
    if usage == "SIGN_VERIFY":
        return kms.sign(KeyId=key, Message=TEXT, SigningAlgorithm=algorithm)["Signature"]
    return kms.generate_mac(KeyId=key, Message=TEXT, MacAlgorithm=algorithm)["Mac"]


def is_right(key, usage, algorithm, made):
    if usage == "ENCRYPT_DECRYPT":
        return kms.decrypt(KeyId=key, CiphertextBlob=made, EncryptionAlgorithm=algorithm)["Plaintext"] == TEXT
    if usage == "SIGN_VERIFY":
        return kms.verify(KeyId=key, Message=TEXT, Signature=made, SigningAlgorithm=algorithm)["SignatureValid"]
    return kms.verify_mac(KeyId=key, Message=TEXT, Mac=made, MacAlgorithm=algorithm)["MacValid"]


def make(file):
    made = []
    for spec, (usage, algorithm) in KINDS.items():
        key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
        made.append([key, usage, algorithm, base64.b64encode(use(key, usage, algorithm)).decode()])
    with open(file, "w") as out:
        json.dump(made, out)
    print(f"made {len(made)} keys")


def check(file):
    with open(file) as source:
        made = json.load(source)
    for key, usage, algorithm, text in made:
        if not is_right(key, usage, algorithm, base64.b64decode(text)):
            sys.exit(f"{key} ({algorithm}) does not do what it did")
    print(f"{len(made)} keys do what they did")


if __name__ == "__main__":
    verb, path = sys.argv[1:]
    {"make": make, "check": check}[verb](path)
