//! Writes the corpus as inputs of a fuzz target: `seeds head|framing|learning DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs, io};

use balancer_fuzz::corpus::cases;
use balancer_fuzz::stream::Side;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().collect();
    let [_, target, directory] = &arguments[..] else {
        eprintln!("usage: seeds head|framing|learning DIRECTORY");
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
    for (number, case) in cases().into_iter().enumerate() {
        let side = u8::from(case.side == Side::Response);
        let input = match target {
            "head" => [&[side, 20, 0], &case.bytes[..]].concat(),
            "framing" => [&[side, 1, 2, 3, 4], &case.bytes[..]].concat(),
            // Ids are issued, presented, issued by another backend, adopted, and deleted.
            _ => b"\x00\x01A\x02\x01A\x08\x01A\x02\x06B; a=bA\x05\x00\x06\x00\x0f\x00\x00\x0cA; Max-Age=0".to_vec(),
        };
        fs::write(directory.join(format!("case-{number:03}")), input)?;
    }
    Ok(())
}
