"""Everything that speaks S3."""
