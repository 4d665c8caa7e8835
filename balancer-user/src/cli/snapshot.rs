//! `balancer snapshot`.

use hyper::Method;

use super::{Format, client::Client, print};
use crate::{exit::Failure, sizes::human, wire::Snapshot};

pub(super) async fn run(client: &Client) -> Result<(), Failure> {
    let snapshot: Snapshot = client.send(Method::POST, "/v1/snapshot", &()).await?;
    if client.format == Format::Json {
        return print::json(&snapshot);
    }
    let Snapshot { path, sessions, bytes, milliseconds, .. } = snapshot;
    print::line(&format!(
        "done:    {sessions} sessions are in {} ({}, {milliseconds} ms)",
        path.display(),
        human(bytes)
    ));
    Ok(())
}
