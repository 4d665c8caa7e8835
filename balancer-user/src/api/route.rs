//! From a request line to what is asked.

use hyper::{Method, StatusCode};

use crate::{exit::Failure, label::Label};

/// What is asked, without the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Status { sessions: bool },
    Service { service: String, sessions: bool },
    AddVersion { service: String },
    RemoveVersion { service: String, label: Label },
    Flip { service: String },
    Rollback { service: String },
    Pause { service: String },
    Resume { service: String },
    Adopt { service: String },
    Weigh { service: String, label: Label },
    Drain { service: String, label: Label },
    Retire { service: String, label: Label },
    Promote { service: String },
    Abort { service: String },
    Sessions { service: String, limit: usize },
    Explain { service: String },
    Pins { service: Option<String> },
    AddPin { service: String },
    RemovePin { service: String, id: u32 },
    Events { since: Option<u64>, wait: u64, service: Option<String>, limit: usize },
    History,
    ConfigDiff,
    ConfigReload,
    ConfigExport,
    Snapshot,
    Detach,
}

/// Sessions that are listed if nobody says how many.
const LIMIT: usize = 50;

impl Route {
    pub(super) fn parse(method: &Method, path: &str, query: Option<&str>) -> Result<Self, (StatusCode, Failure)> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let sessions = parameter(query, "sessions") != Some("false");
        let service = || parts.get(2).map(|service| (*service).to_owned()).unwrap_or_default();
        let (wanted, route) = match parts.as_slice() {
            ["v1", "status"] => (Method::GET, Self::Status { sessions }),
            ["v1", "history"] => (Method::GET, Self::History),
            ["v1", "config", "diff"] => (Method::POST, Self::ConfigDiff),
            ["v1", "config", "reload"] => (Method::POST, Self::ConfigReload),
            ["v1", "config", "export"] => (Method::GET, Self::ConfigExport),
            ["v1", "snapshot"] => (Method::POST, Self::Snapshot),
            ["v1", "detach"] => (Method::POST, Self::Detach),
            ["v1", "services", _] => (Method::GET, Self::Service { service: service(), sessions }),
            ["v1", "services", _, "versions"] => (Method::POST, Self::AddVersion { service: service() }),
            ["v1", "services", _, "versions", text] => {
                (Method::DELETE, Self::RemoveVersion { service: service(), label: label(text)? })
            }
            ["v1", "services", _, "versions", text, "backends"] => {
                (Method::POST, Self::Weigh { service: service(), label: label(text)? })
            }
            ["v1", "services", _, "versions", text, "drain"] => {
                (Method::POST, Self::Drain { service: service(), label: label(text)? })
            }
            ["v1", "services", _, "versions", text, "retire"] => {
                (Method::POST, Self::Retire { service: service(), label: label(text)? })
            }
            ["v1", "services", _, "promote"] => (Method::POST, Self::Promote { service: service() }),
            ["v1", "services", _, "abort"] => (Method::POST, Self::Abort { service: service() }),
            ["v1", "pins"] => (Method::GET, Self::Pins { service: None }),
            ["v1", "services", _, "pins"] if *method == Method::GET => {
                (Method::GET, Self::Pins { service: Some(service()) })
            }
            ["v1", "services", _, "pins"] => (Method::POST, Self::AddPin { service: service() }),
            ["v1", "services", _, "pins", id] => {
                let id = id.parse().map_err(|_| {
                    let failure =
                        Failure::usage(format!("`{id}` is not the number of a pin"), "GET /v1/pins shows them");
                    (StatusCode::BAD_REQUEST, failure)
                })?;
                (Method::DELETE, Self::RemovePin { service: service(), id })
            }
            ["v1", "events"] => {
                let number = |name| parameter(query, name).and_then(|text| text.parse().ok());
                let limit = number("limit").map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
                let service = parameter(query, "service").map(str::to_owned);
                (
                    Method::GET,
                    Self::Events { since: number("since"), wait: number("wait").unwrap_or(0), service, limit },
                )
            }
            ["v1", "services", _, "flip"] => (Method::POST, Self::Flip { service: service() }),
            ["v1", "services", _, "rollback"] => (Method::POST, Self::Rollback { service: service() }),
            ["v1", "services", _, "pause"] => (Method::POST, Self::Pause { service: service() }),
            ["v1", "services", _, "resume"] => (Method::POST, Self::Resume { service: service() }),
            ["v1", "services", _, "adopt"] => (Method::POST, Self::Adopt { service: service() }),
            ["v1", "services", _, "sessions"] => {
                let limit = parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(LIMIT);
                (Method::GET, Self::Sessions { service: service(), limit })
            }
            ["v1", "services", _, "explain"] => (Method::POST, Self::Explain { service: service() }),
            _ => {
                let failure = Failure::usage(format!("there is no {path}"), "GET /v1/status shows what there is");
                return Err((StatusCode::NOT_FOUND, failure));
            }
        };
        if *method != wanted {
            let failure = Failure::usage(format!("{path} does not take {method}"), format!("use {wanted}"));
            return Err((StatusCode::METHOD_NOT_ALLOWED, failure));
        }
        Ok(route)
    }
}

fn label(text: &str) -> Result<Label, (StatusCode, Failure)> {
    text.parse()
        .map_err(|error: crate::label::LabelError| (StatusCode::BAD_REQUEST, Failure::usage(error.to_string(), "")))
}

fn parameter<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let shop = || "shop".to_owned();
        let table = [
            ("GET", "/v1/status", None, Ok(Route::Status { sessions: true })),
            ("GET", "/v1/status", Some("sessions=false"), Ok(Route::Status { sessions: false })),
            ("GET", "/v1/services/shop", None, Ok(Route::Service { service: shop(), sessions: true })),
            ("POST", "/v1/services/shop/flip", None, Ok(Route::Flip { service: shop() })),
            ("POST", "/v1/services/shop/pause", None, Ok(Route::Pause { service: shop() })),
            ("POST", "/v1/services/shop/resume", None, Ok(Route::Resume { service: shop() })),
            ("GET", "/v1/services/shop/resume", None, Err(405)),
            ("POST", "/v1/services/shop/adopt", None, Ok(Route::Adopt { service: shop() })),
            (
                "DELETE",
                "/v1/services/shop/versions/001",
                None,
                Ok(Route::RemoveVersion { service: shop(), label: "001".parse().unwrap() }),
            ),
            (
                "GET",
                "/v1/services/shop/sessions",
                Some("a=b&limit=7"),
                Ok(Route::Sessions { service: shop(), limit: 7 }),
            ),
            (
                "POST",
                "/v1/services/shop/versions/001/backends",
                None,
                Ok(Route::Weigh { service: shop(), label: "001".parse().unwrap() }),
            ),
            ("GET", "/v1/pins", None, Ok(Route::Pins { service: None })),
            ("GET", "/v1/services/shop/pins", None, Ok(Route::Pins { service: Some(shop()) })),
            ("POST", "/v1/services/shop/pins", None, Ok(Route::AddPin { service: shop() })),
            ("DELETE", "/v1/services/shop/pins/7", None, Ok(Route::RemovePin { service: shop(), id: 7 })),
            ("DELETE", "/v1/services/shop/pins/x", None, Err(400)),
            (
                "GET",
                "/v1/events",
                Some("since=7&wait=2&service=shop"),
                Ok(Route::Events { since: Some(7), wait: 2, service: Some(shop()), limit: LIMIT }),
            ),
            ("POST", "/v1/config/reload", None, Ok(Route::ConfigReload)),
            ("GET", "/v1/config/reload", None, Err(405)),
            ("GET", "/v1/config/export", None, Ok(Route::ConfigExport)),
            ("POST", "/v1/snapshot", None, Ok(Route::Snapshot)),
            ("GET", "/v1/snapshot", None, Err(405)),
            ("GET", "/v1/services/shop/flip", None, Err(405)),
            ("DELETE", "/v1/services/shop/versions/0 1", None, Err(400)),
            ("GET", "/v2/status", None, Err(404)),
            ("GET", "/", None, Err(404)),
        ];
        for (method, path, query, expected) in table {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let got = Route::parse(&method, path, query).map_err(|(status, _)| status.as_u16());
            assert_eq!(got, expected, "{method} {path}");
        }
    }
}
