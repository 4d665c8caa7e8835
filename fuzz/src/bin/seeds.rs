//! Writes the corpus as inputs of a fuzz target: `seeds head|framing|learning|rules|packet|splice DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use balancer_fuzz::corpus::{Case, cases};
use balancer_fuzz::stream::Side;
use balancer_fuzz::{packet, rules, splice};

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    let [_, target, directory] = &arguments[..] else {
        eprintln!("usage: seeds head|framing|learning|rules|packet|splice DIRECTORY");
        return ExitCode::from(2);
    };
    match write(target, &PathBuf::from(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write seeds to {directory}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(target: &str, directory: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (number, input) in inputs(target).into_iter().enumerate() {
        fs::write(directory.join(format!("case-{number:03}")), input)?;
    }
    Ok(())
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let of_cases = |prefix: &[u8]| -> Vec<Vec<u8>> {
        let side = |case: &Case| u8::from(case.side == Side::Response);
        cases().iter().map(|case| [&[side(case)], prefix, &case.bytes[..]].concat()).collect()
    };
    match target {
        "head" => of_cases(&[20, 0]),
        "framing" => of_cases(&[1, 2, 3, 4]),
        "rules" => rules::seeds(),
        "packet" => packet::seeds(),
        "splice" => splice::seeds(),
        // Ids are issued, presented, issued by another backend, adopted, and deleted.
        _ => vec![b"\x00\x01A\x02\x01A\x08\x01A\x02\x06B; a=bA\x05\x00\x06\x00\x0f\x00\x00\x0cA; Max-Age=0".to_vec()],
    }
}
