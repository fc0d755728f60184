"""How many profiles there are, counted exactly instead of sampled. Source: profile.md 6."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.profile.model import COUNTS, PROFILES
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

_KEEP_MS = 60_000


class Preview:
    """Answers the sample status questions; counts are taken on demand and kept for a minute."""

    def __init__(self, state: Documents, namespaces: Namespaces) -> None:
        self._state = state
        self._namespaces = namespaces
        self._kept: dict[str, tuple[int, tuple[int, Mapping[str, int]]]] = {}

    def status(self, sandbox_id: str, now_ms: int) -> dict[str, Json]:
        """Return the status of the last sample job: there is none, the counts are exact."""
        profiles, counts = self._counts(sandbox_id, now_ms)
        moment = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
        return {
            "numRowsToRead": str(profiles),
            "sampleJobRunning": {"status": False, "submissionTimestamp": moment},
            "docCount": str(profiles),
            "totalFragmentCount": sum(count for key, count in counts.items() if key.startswith("dataset/")),
            "lastSuccessfulBatchTimestamp": '"null"',
            "streamingDriven": True,
            "totalRows": str(profiles),
            "lastBatchId": "",
            "status": "TASK_FINISHED",
            "samplingRatio": 1.0,
            "mergeStrategy": "timestampOrdered_auto",
            "lastSampledTimestamp": moment,
        }

    def by_dataset(self, sandbox_id: str, now_ms: int) -> dict[str, Json]:
        """Return the number of fragments of each dataset."""
        return self._report(sandbox_id, now_ms, "dataset/", lambda value: {"value": value, "name": value})

    def by_namespace(self, sandbox_id: str, org_id: str, now_ms: int) -> dict[str, Json]:
        """Return the number of fragments whose primary identity is of each namespace."""
        table = self._namespaces.table(org_id)

        def named(value: str) -> dict[str, Json]:
            namespace = table.numbered(int(value))
            return {"value": value, "code": namespace.code if namespace else value}

        return self._report(sandbox_id, now_ms, "namespace/", named)

    def _report(self, sandbox_id: str, now_ms: int, prefix: str, named: Callable[[str], dict[str, Json]]) -> dict[str, Json]:
        profiles, counts = self._counts(sandbox_id, now_ms)
        moment = rfc3339(now_ms)
        data = [
            named(key.removeprefix(prefix))
            | {
                "fullIDsFragmentCount": count,
                "fullIDsCount": count,
                "fullIDsPercentage": round(100 * count / profiles, 2) if profiles else 0.0,
                "sampleCount": count,
                "samplePercentage": 1.0,
                "streamingIngestionEnabled": "true",
                "reportTimestamp": moment,
            }
            for key, count in counts.items()
            if key.startswith(prefix)
        ]
        return {"data": data, "reportTimestamp": moment}

    def _counts(self, sandbox_id: str, now_ms: int) -> tuple[int, Mapping[str, int]]:
        kept = self._kept.get(sandbox_id)
        if kept is not None and now_ms - kept[0] < _KEEP_MS:
            return kept[1]
        prefix = f"{sandbox_id}/"
        counts = {key.removeprefix(prefix): int(body) for key, body in self._state.scan(COUNTS, prefix=prefix)}
        taken = (self._state.count(PROFILES, prefix=prefix), counts)
        self._kept[sandbox_id] = (now_ms, taken)
        return taken
