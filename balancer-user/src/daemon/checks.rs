//! What has to be true before anything is changed.

use crate::{
    config::Config,
    exit::Failure,
    host,
    kernel::{interface, pins},
};

/// Checks the host, and finds the interfaces.
pub(super) async fn preflight(config: &Config) -> Result<Vec<interface::Interface>, Failure> {
    host::check_kernel(&host::kernel_release()?)?;
    host::check_privileges()?;
    pins::check_bpffs(&config.bpffs)?;
    interface::find_all(&config.interfaces).await
}
