"""What a process loads at its first look at a connection: loaded once, before processes are forked to be killed."""

import os
from unittest.mock import patch

from airflow.providers.common.compat.sdk import BaseHook

with patch.dict(os.environ, {"AIRFLOW_CONN_CURATION_WARM_UP": "jfrog-curation://:made-up@localhost"}):
    BaseHook.get_connection("curation_warm_up")
