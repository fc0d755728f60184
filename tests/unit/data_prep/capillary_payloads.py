"""The two example payloads of the relay. Source: capillary.md 6.4."""

from typing import Any

PROFILE: dict[str, Any] = {
    "_id": "capillary:700123:member:900000101",
    "identityMap": {
        "capillaryUserId": [{"id": "900000101", "authenticatedState": "ambiguous", "primary": True}],
        "email": [{"id": "member-0001@example.com", "authenticatedState": "ambiguous", "primary": False}],
        "phone": [{"id": "+447700900101", "authenticatedState": "ambiguous", "primary": False}],
        "capillaryExternalId": [{"id": "CRM-0001", "authenticatedState": "ambiguous", "primary": False}],
    },
    "loyalty": {
        "tier": "Silver",
        "points": 1160,
        "lifetimePoints": 1310,
        "expiredPoints": 50,
        "pointsRedeemed": 100,
        "program": "CircleDefaultProgram",
        "status": "active",
        "joinDate": "2024-09-12T09:30:11.902Z",
        "loyaltyID": ["900000101"],
        "tierUpgradeDate": "2024-10-19T11:20:05.310Z",
        "tierExpiryDate": "2025-10-31T23:59:59.000Z",
        "nextTier": "Gold",
        "promisedPoints": 0,
        "returnedPoints": 42,
        "adjustedPoints": 0,
        "lifetimePurchases": 1310,
        "pointsExpiration": [
            {"pointsExpiring": 6, "pointsExpirationDate": "2025-09-30T23:59:59.000Z"},
            {"pointsExpiring": 1139, "pointsExpirationDate": "2025-10-31T23:59:59.000Z"},
        ],
    },
    "capillary": {
        "orgId": "700123",
        "customerId": "900000101",
        "loyaltyType": "loyalty",
        "source": "INSTORE",
        "programId": "4101",
        "tierNumber": 2,
        "customerStatus": "Active",
        "programs": [
            {
                "id": "4101",
                "name": "CircleDefaultProgram",
                "isDefault": True,
                "points": 1160,
                "lifetimePoints": 1310,
                "pointsRedeemed": 100,
                "expiredPoints": 50,
                "promisedPoints": 0,
                "tier": "Silver",
                "tierNumber": 2,
                "tierExpiryDate": "2025-10-31T23:59:59.000Z",
            }
        ],
        "customFields": {"preferred_store": "str.nw.014"},
        "extendedFields": {"gender": "undisclosed", "city": "Bristol"},
        "stateVersion": 17,
        "asOf": "2024-12-05T12:41:09.330Z",
        "lastEvent": {"name": "pointsRedeemed", "id": "cc81acf0-2988-51d8-9cc9-4f8a61e0a4a3"},
        "quality": ["schedule_approximate"],
    },
}

TRANSACTION: dict[str, Any] = {
    "_id": "capillary:700123:txn:880100001",
    "timestamp": "2024-09-17T15:02:58.000Z",
    "eventType": "commerce.purchases",
    "producedBy": "system",
    "identityMap": {
        "capillaryUserId": [{"id": "900000101", "authenticatedState": "ambiguous", "primary": True}],
        "email": [{"id": "member-0001@example.com", "authenticatedState": "ambiguous", "primary": False}],
        "phone": [{"id": "+447700900101", "authenticatedState": "ambiguous", "primary": False}],
        "capillaryExternalId": [{"id": "CRM-0001", "authenticatedState": "ambiguous", "primary": False}],
    },
    "commerce": {
        "commerceScope": {"storeCode": "str.nw.014"},
        "purchases": {"value": 1},
        "order": {
            "priceTotal": 148.5,
            "purchaseID": "NW014-20240917-0042",
            "currencyCode": "GBP",
            "discountAmount": 16.5,
            "createdDate": "2024-09-17T15:02:58.000Z",
            "payments": [
                {"transactionID": "24074480", "paymentType": "credit_card", "paymentAmount": 148.5, "currencyCode": "GBP"}
            ],
        },
    },
    "productLineItems": [
        {
            "SKU": "85123A",
            "name": "Hanging heart holder",
            "quantity": 6,
            "priceTotal": 75,
            "discountAmount": 7.5,
            "currencyCode": "GBP",
        },
        {"SKU": "71053", "name": "Metal lantern", "quantity": 4, "priceTotal": 60, "discountAmount": 6, "currencyCode": "GBP"},
        {"SKU": "84406B", "name": "84406B", "quantity": 3, "priceTotal": 30, "discountAmount": 3, "currencyCode": "GBP"},
    ],
    "capillary": {
        "eventName": "transactionAdded",
        "eventId": "28d0b173-bd7f-5bd1-908e-cf9a8daf1411",
        "orgId": "700123",
        "customerId": "900000101",
        "refId": "700123_880100001",
        "apiRequestId": "7da685001e153f41a83eb6255069dc3d",
        "createdAt": "2024-09-17T15:04:31.220Z",
        "enteredAt": "2024-09-17T15:02:58.000Z",
        "receivedAt": "2024-09-17T15:04:32.420Z",
        "transaction": {
            "id": "880100001",
            "billClientId": "pos-77120942",
            "billType": "REGULAR",
            "deliveryStatus": "PLACED",
            "grossAmount": 165,
            "lineItemCount": 3,
            "outlierStatus": "NORMAL",
        },
        "lines": [
            {"id": "2153900101", "itemCode": "85123A", "qty": 6, "rate": 12.5, "amount": 67.5},
            {"id": "2153900102", "itemCode": "71053", "qty": 4, "rate": 15, "amount": 54, "attributes": {"colour": "white"}},
            {"id": "2153900103", "itemCode": "84406B", "qty": 3, "rate": 10, "amount": 27},
        ],
        "store": {"code": "str.nw.014", "name": "Harbour Street", "externalId": "NW014"},
        "till": {"code": "till.nw.014.02", "name": "till.nw.014.02"},
        "customFields": {"basket_channel": "store"},
        "extendedFields": {"order_channel": "INSTORE"},
    },
}
