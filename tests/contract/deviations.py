"""What the platform answers that a specification does not say, and which operations are never good or never bad: why, each.

Where a specification contradicts its own prose, its examples or the clients, the platform follows those.
"""

ENVELOPES = {
    "sandbox.yaml": {"status", "title", "type"},
    "access-control.yaml": {"status", "title", "type"},
    "flow-service.yaml": {"type", "title", "status", "report", "errorMessage", "errorDetails"},
    "catalog.yaml": {"type", "status", "title", "detail"},
    "dataset-service.yaml": {"timestamp", "status", "code", "message", "path"},
    "data-access.yaml": {"type", "status", "title", "detail"},
    "data-prep.yaml": {"type", "title", "status", "report"},
}
"""The members of every refusal of a service. Source: gateway.md 4."""

UNLISTED = {
    "data-prep.yaml": {404: "MAPPER-3040-404 (data-prep.md 1.1)"},
    "sandbox.yaml": {404: "SMS-1001-404 (sandboxes-access.md 1.2)", 409: "SMS-1002-409 (sandboxes-access.md 1.2)"},
    "access-control.yaml": {
        400: "a body that names no role or no list (sandboxes-access.md 2)",
        404: "an unknown role or product",
    },
    "flow-service.yaml": {
        400: "the error catalogue (gateway.md 4.1)",
        404: "FLOW-1439-404",
        412: "FLOW-1404-412",
        501: "by name",
    },
    "catalog.yaml": {
        412: "If-Match (gateway.md 7)",
        404: "an unknown dataset (catalog.md 1)",
        200: "batched requests: see DEVIATIONS",
    },
    "dataset-service.yaml": {
        400: "If-Match missing, bad body (catalog.md 7)",
        404: "PES-404 (gateway.md 4)",
        412: "If-Match (catalog.md 7)",
    },
    "data-access.yaml": {400: "bad start or limit", 404: "unknown batch (catalog.md 6.3)"},
    "observability-insights.yaml": {400: "INSGHT errors of version 2 (monitoring-alerts.md 6.1)"},
}
"""Undocumented statuses and why they are answered."""

STORED = (
    r"(.*\.)?((created|modified)Date|sourceType)",
    "every example prints milliseconds and stored source types (data-prep.md 1.1, 1.3)",
)
DEVIATIONS = {
    **dict.fromkeys(("createMappingSet", "listMappingSets", "retrieveMappingSet", "putMappingSet", "retrieveMapping"), STORED),
    "listMappings": ("", "the file says one object, its prose the array (data-prep.md 1.2)"),
    "validateExpression": ("", "the file says a boolean, its prose the object (data-prep.md 1.5)"),
    "previewMappingSet": ("", "an array of records is answered by an array (data-prep.md 1.7)"),
    **dict.fromkeys(
        ("createRole", "retrieveRole", "updateRole", "updateRoleByRoleId"),
        (r"subjectAttributes\.labels", "the file says one text, its examples and aepp a list (sandboxes-access.md 2.3)"),
    ),
    "listExistingRoles": (r"items\.\d+\.subjectAttributes\.labels", "as above"),
    **dict.fromkeys(
        ("createPolicy", "retrievePolicy", "updatePolicy", "updatePolicyByPolicyId", "listExistingPolicies"),
        (r"(items\.\d+\.)?rules", "the file says one object, its examples an array (sandboxes-access.md 2.4)"),
    ),
    "updatePackage": ("", "the file says one of three schemas, all of which every package fits"),
    "dependentObjects": ("", "the file refers to the package, its own DependentObjectsResponse is the array"),
    "listPermissionCategories": (r"categories", "the file says one object, its example a list (sandboxes-access.md 2.5)"),
    "listPermissionSets": (r"permission-sets", "the file says one object, its example a list (sandboxes-access.md 2.5)"),
    "listConnectionSpecs": (r"items\.\d+\.sourceSpec\.attributes\.uiAttributes\.\w+", "prose and aepp: objects"),
    "retrieveConnectionSpec": (r"items\.\d+\.sourceSpec\.attributes\.uiAttributes\.\w+", "prose and aepp: objects"),
    "createConnectionSpec": (r"(items\.\d+\.)?sourceSpec\.attributes\.uiAttributes\.\w+", "prose and aepp: objects"),
    "updateConnectionSpec": (r"sourceSpec\.attributes\.uiAttributes\.\w+", "prose and aepp: objects"),
    "listFlowSpecs": (
        r"items\.\d+\.(transformationSpecs|optionSpec|scheduleSpec).*",
        "prose and samples: arrays, plain JSON Schema",
    ),
    "retrieveFlowSpec": (r"items\.\d+\.(transformationSpecs|optionSpec).*", "prose and samples: arrays, plain JSON Schema"),
    "searchFlowSpecs": (
        r"items\.\d+\.(transformationSpecs|optionSpec|scheduleSpec).*",
        "prose and samples: arrays, plain JSON Schema",
    ),
    "createFlowSpec": (r"(transformationSpecs|optionSpec).*", "prose and samples: arrays, plain JSON Schema"),
    "updateFlowSpec": (r"(transformationSpecs|optionSpec).*", "prose and samples: arrays, plain JSON Schema"),
    "configByConnectionSpecId": (r"", "the file says an array, aepp reads items and pageInfo (flow-service.md 11)"),
    "exploreConfigByConnectionId": (r"", "the file says an array, its prose the items (flow-service.md 2)"),
    "patchSourceConnection": (r".*", "the file says a list, prose and aepp the receipt (flow-service.md 10, 12)"),
    "patchTargetConnection": (r".*", "the file says a list, prose and aepp the receipt (flow-service.md 10, 12)"),
    "retrieveMetricsV1": (r"", "the file says an array, its guide and monitoring-alerts.md 6.2 the object"),
    "createBatchedRequest": (r".*", "the file says ids, the guide one answer for each request (catalog.md 9)"),
}
"""Places where the specification contradicts the prose or the clients, and what was followed."""

NEVER_GOOD = {
    "approveShareRequests": "one server has one organisation, so nobody has asked for a partnership",
    "createShareRequest": "one server has one organisation, so there is nobody to share with",
    "fetchShareByID": "one server has one organisation, so nothing was shared",
    "importPublicPackage": "one server has one organisation, so there are no packages of others",
    "updateRun": "for providers only (FLOW-1427)",
    "postAction": "for failed runs of file dataflows only; tests/unit/file_ingestion/test_file_flows.py has one triggered again",
}
NEVER_BAD = {
    "listMappingSetFunctions": "has no parameter that could be wrong",
    "listMappingSetOperators": "has no parameter that could be wrong",
    "listAvailableSandboxes": "has no parameter that could be wrong",
    "listSandboxTypes": "has no parameter that could be wrong",
    "listPolicyNames": "has no parameter that could be wrong",
    "listEntitledProducts": "has no parameter that could be wrong",
    "testConnection": "an unusable connection is a result, not an error",
    "exploreConfigByConnectionId": "fails for unknown connections only, as every read by id",
    "listConnectionSpecs": "has no parameter that could be wrong",
    "listFlowSpecs": "has no parameter that could be wrong",
    "listBatchedRequest": "has no parameter that could be wrong",
    "retrieveUniqueBatchValues": "an unknown member has no values",
}
