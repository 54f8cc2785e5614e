"""The audit-events endpoint's paths, limits and names, shared by the client and the simulator.

Every value comes from the vendor's reference or staff, or was observed on live servers.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

AUDIT_PATH: Final = "/xray/api/v1/curation/audit/packages"
ENTITLEMENT_PATH: Final = "/xray/api/v1/entitlements/feature/curation"
VERSION_PATH: Final = "/xray/api/v1/system/version"

#: The widest time range the server answers; a wider one gets a 400 (vendor, live since 2026-03).
MAX_WIDTH: Final = timedelta(hours=168)
#: The widest time range the provider asks for: the vendor advises six days because of hour rounding.
REQUEST_WIDTH: Final = timedelta(hours=144)
#: How long the server keeps events unless it was configured otherwise.
RETENTION: Final = timedelta(days=30)

#: The most events in one JSON page, and the documented maximum of newer servers for CSV.
JSON_ROWS: Final = 2_000
CSV_ROWS: Final = 500_000
#: Events in one CSV answer of older servers.
CSV_ROWS_OLDER: Final = 2_000

CSV_MEMBER: Final = "audit_packages.csv"
#: The member's name is the only sign that a CSV answer lacks events of its time range.
CSV_INCOMPLETE_MEMBER: Final = "audit_packages_incomplete.csv"

#: Fields that name a person.
PERSONAL_FIELDS: Final = ("username", "user_mail")
