"""The code of docs/explanation/evidence.md, which the tests run."""

from __future__ import annotations


def verify_october() -> str:
    # [START verify]
    from airflow_provider_curation.evidence import verify_archive

    report = verify_archive(
        "s3://audit-archive/curation/",
        "2026-10-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
        read=0.01,  # one object in a hundred, besides those that nothing vouches for
        aws_conn_id="aws_default",  # None: boto3's own credentials
    )
    for finding in report.findings:
        print(finding)
    for repair in report.repairs:
        print(repair.as_kwargs())  # arguments of CurationAuditToS3Operator
    # [END verify]
    return report.summary()
