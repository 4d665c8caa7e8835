//! The balancer's one binary: the daemon and the command line. Exit codes are chosen here and nowhere else.

use std::process::ExitCode;

use balancer_user::cli;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(cli::Ended { failure, json }) => {
            if json {
                // A program that asked for JSON gets its error as JSON, too.
                eprintln!("{}", serde_json::to_string(&failure).unwrap_or_else(|_| failure.error.clone()));
            } else {
                eprintln!("error: {failure}");
            }
            ExitCode::from(failure.code.number())
        }
    }
}
