//! Whether the director can do what it is for.

use crate::{
    model::Condition,
    wire::{ServiceStatus, Status},
};

/// What is in the way of serving, a sentence each; nothing: it is ready.
pub fn ready(status: &Status, table_full: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.interfaces.is_empty() {
        reasons.push("no programs are attached: nothing is steered".to_owned());
    }
    reasons.extend(status.services.iter().filter_map(service));
    if table_full {
        reasons.push("the session table is full: new sessions are not bound".to_owned());
    }
    reasons
}

fn service(service: &ServiceStatus) -> Option<String> {
    let name = &service.name;
    let active = service.versions.iter().find(|version| service.active.as_ref() == Some(&version.label));
    let Some(active) = active else {
        return Some(format!("{name}: no version is active"));
    };
    let healthy = active.backends.iter().any(|backend| backend.condition == Condition::Up);
    (!healthy).then(|| format!("{name}: the active version {} has no healthy backend", active.label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing;

    #[test]
    fn what_is_in_the_way() {
        let good = testing::sample().status;
        let with = |change: fn(&mut Status)| {
            let mut status = good.clone();
            change(&mut status);
            status
        };
        let table: [(Status, bool, &[&str]); 5] = [
            (good.clone(), false, &[]),
            (good.clone(), true, &["the session table is full"]),
            (with(|status| status.interfaces.clear()), false, &["no programs are attached"]),
            (with(|status| status.services[0].active = None), false, &["shop: no version is active"]),
            (
                with(|status| {
                    status.interfaces.clear();
                    status.services[0].versions[0].backends[0].condition = Condition::Unknown;
                }),
                true,
                &[
                    "no programs are attached",
                    "shop: the active version 001 has no healthy backend",
                    "the session table is full",
                ],
            ),
        ];
        for (status, full, expected) in table {
            let reasons = ready(&status, full);
            assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
            for (reason, begins) in reasons.iter().zip(expected) {
                assert!(reason.starts_with(begins), "{reason}");
            }
        }
    }
}
