//! `cargo xtask fuzz`: the fuzz targets of the core, one after the other.
//!
//! With a stable compiler: libFuzzer needs LLVM's coverage pass, which is asked for by hand. Sanitizers would need
//! nightly, and find nothing in code without `unsafe`.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{parts::Parts, workspace};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Heads of requests and responses, cut anywhere and beside httparse.
    Head,
    /// Streams of messages, whole and in pieces.
    Framing,
    /// What requests and responses do to the session table.
    Learning,
    /// What rules say of requests, beside servers that read them in ways of their own.
    Rules,
    /// Frames as they lie on the wire, beside etherparse.
    Packet,
    /// Conversations through the whole data path.
    Splice,
}

impl Target {
    /// Its name, and that of its program.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Head => ("head", "fuzz-head"),
            Self::Framing => ("framing", "fuzz-framing"),
            Self::Learning => ("learning", "fuzz-learning"),
            Self::Rules => ("rules", "fuzz-rules"),
            Self::Packet => ("packet", "fuzz-packet"),
            Self::Splice => ("splice", "fuzz-splice"),
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which target; without it, all of them.
    target: Option<Target>,
    /// Seconds for each.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// An input that failed, to be run alone.
    #[arg(long, requires = "target")]
    input: Option<OsString>,
}

/// What cargo-fuzz would set, without a sanitizer.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
];

pub(crate) fn command(options: &Options) -> Result<()> {
    let directory = workspace::target()?.join("xtask/fuzz");
    // With a target of their own, build scripts and macros are not instrumented.
    let host = host()?;
    let mut parts = Parts::default();
    for target in Target::value_variants() {
        if options.target.is_none_or(|only| only == *target) {
            parts.run(target.names().1, || run(options, &directory, &host, *target));
        }
    }
    parts.finish()
}

fn run(options: &Options, directory: &Path, host: &str, target: Target) -> Result<()> {
    let (name, program) = target.names();
    // What was found in earlier runs stays there, and the tricks that are known are put beside it.
    let corpus = directory.join("corpus").join(name);
    let mut seeds = workspace::cargo(["run", "--quiet", "--package", "balancer-fuzz", "--bin", "seeds", "--", name]);
    workspace::run(seeds.arg(&corpus))?;
    let mut fuzz = workspace::cargo(["run", "--release", "--package", "balancer-fuzz", "--features", "libfuzzer"]);
    fuzz.args(["--bin", program, "--target", host, "--target-dir"]).arg(directory);
    fuzz.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")).arg("--");
    // The name of an input that fails is printed, with this before it.
    fuzz.arg(format!("-artifact_prefix={}/", directory.display()));
    match &options.input {
        Some(input) => fuzz.arg(input),
        None => fuzz
            .args([
                format!("-max_total_time={}", options.seconds),
                "-max_len=2048".into(),
                "-print_final_stats=1".into(),
            ])
            .arg(corpus),
    };
    workspace::run(&mut fuzz)
}

/// The compiler's own target.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("run rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}
