//! The daemon's log: lines on standard error, for a terminal or the journal, which adds the time itself.

#![forbid(unsafe_code)]

use std::io::{IsTerminal as _, Write as _};

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr {
    /// The journal has its own.
    times: bool,
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries are only heard when something is wrong; netlink's warns of every attribute that is newer than itself.
        metadata.target().starts_with("balancer") || metadata.level() == Level::Error
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::new();
        if self.times {
            line = format!("{} ", humantime::format_rfc3339_seconds(std::time::SystemTime::now()));
        }
        match record.level() {
            Level::Error => line.push_str("error: "),
            Level::Warn => line.push_str("warning: "),
            Level::Info | Level::Debug | Level::Trace => {}
        }
        // Nobody reads it if it cannot be written.
        let _ = writeln!(std::io::stderr(), "{line}{}", record.args());
    }

    fn flush(&self) {}
}

/// Starts logging.
pub fn start() {
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal();
    // A second start (in tests) keeps the first logger.
    if log::set_boxed_logger(Box::new(Stderr { times: !under_systemd })).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
