//! A sample for tests.

use serde_json::{Value, json};

use super::{Counted, Sample, Tallies, What};
use crate::{model::Condition, wire::Status};

/// One service with one version that has one backend, number 4.
pub(super) fn sample() -> Sample {
    let status = json!({
        "name": "lab", "pid": 1, "uptime_seconds": 3,
        "interfaces": [{ "name": "b1", "index": 2, "hook": "tc", "why": "", "peer": false }],
        "sources": ["10.60.254.1"], "flows_limit": 64, "sessions_limit": 64, "memory_bytes": 4096,
        "services": [service()],
        "snapshots": { "every_milliseconds": 10_000, "last": null, "age_seconds": null, "problem": null, "restored": null },
        "counters": [],
    });
    let status: Status = serde_json::from_value(status).unwrap();
    let counted = |what, name, value| Counted { what, name, value };
    let mut tallies = Tallies::default();
    tallies.flips.insert(("shop".to_owned(), "forced"), 2);
    tallies.changes.insert(("shop".to_owned(), "flip".to_owned()), 2);
    Sample {
        status,
        counters: vec![
            counted(What::Verdict, "forwarded", 7),
            counted(What::Note, "session_issued", 0),
            counted(What::Unframed, "length_and_coding", 1),
        ],
        tallies,
        table_full: false,
        state_unsaved: false,
    }
}

fn service() -> Value {
    json!({
        "name": "shop", "listen": "10.60.255.1:80", "select": "highest", "order": "string",
        "cookie": "JSESSIONID", "parameter": "jsessionid", "return": "snat", "pool": "safe", "pool_legs": 64,
        "on_unframed": "close", "generation": 9, "active": "001", "previous": null, "adopt": null,
        "canary": { "version": "001", "percent": 5, "measured_percent": null, "new_sessions": 0, "since": "" },
        "hold": null,
        "versions": [version()],
        "retired": [], "warnings": [],
    })
}

fn version() -> Value {
    json!({
        "label": "001", "state": "active", "index": 0, "generation": 1,
        "backends": [{
            "id": 4, "address": "10.60.1.2:8080", "route": null, "condition": Condition::Up, "weight": 100,
            "weight_now": 100, "detail": "answers 200", "legs_busy": 1, "legs_idle": 3,
        }],
        "sessions": { "issued": 3, "presented": 2, "oldest_seconds": 60 },
        "drain": null, "flows": 2, "in_flight": -1, "requests": 12, "issued": 5, "born": 4,
    })
}
