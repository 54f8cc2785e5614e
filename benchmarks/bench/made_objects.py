"""moto's S3 API with `bench.made_archive` in it, put there past HTTP. Prints its port, ends with its standard input."""

from __future__ import annotations

import argparse

from bench import objects
from bench.made_archive import BUCKET, body, manifest, manifest_keys, object_keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, required=True)
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_bucket(BUCKET, "us-east-1")
    hours = parser.parse_args().hours
    for number, key in enumerate(manifest_keys(hours)):
        backend.put_object(BUCKET, key, manifest(number))
    for number, key in enumerate(object_keys(hours)):
        backend.put_object(BUCKET, key, body(number))
    objects.main()


if __name__ == "__main__":
    main()
