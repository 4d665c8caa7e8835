//! Which kernels tests can be run on.

use std::{fmt, str::FromStr};

/// The oldest that the balancer takes: `OLDEST_KERNEL` of `balancer-user/src/host.rs`.
const OLDEST: Series = Series { major: 6, minor: 1 };

/// A kernel to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one that this machine runs.
    Host,
    /// Debian's newest of a series, in an emulated machine.
    Guest(Series),
}

/// A series of kernels, as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u32,
    minor: u32,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let numbers = text.split_once('.').map(|(major, minor)| (major.parse(), minor.parse()));
        let Some((Ok(major), Ok(minor))) = numbers else {
            return Err("name a series as 6.12, or `host` for the running kernel".to_owned());
        };
        let series = Series { major, minor };
        if series < OLDEST {
            return Err(format!("the balancer needs Linux {OLDEST} or newer, so there is nothing to test on {series}"));
        }
        Ok(Self::Guest(series))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_by_their_series() {
        assert_eq!("host".parse(), Ok(Kernel::Host));
        assert_eq!("6.12".parse(), Ok(Kernel::Guest(Series { major: 6, minor: 12 })));
        for (text, says) in [("5.15", "needs Linux 6.1 or newer"), ("6.0", "6.1 or newer")] {
            assert!(text.parse::<Kernel>().is_err_and(|error| error.contains(says)), "{text}");
        }
        for text in ["", "6", "6.", "6.1.0", "6.x", "newest", "-6.1"] {
            assert!(text.parse::<Kernel>().is_err_and(|error| error.contains("name a series")), "{text}");
        }
    }

    #[test]
    fn the_oldest_is_the_one_that_the_daemon_checks_for() {
        let daemon = include_str!("../../../balancer-user/src/host.rs");
        let line = format!("pub const OLDEST_KERNEL: (u32, u32) = ({}, {});", OLDEST.major, OLDEST.minor);
        assert!(daemon.contains(&line), "{line}");
    }
}
