//! An emulated machine from its boot to its end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    console::{Heard, results},
    debian::{Emulator, Kernel},
    steps::Step,
};
use crate::{machine::say, progress, workspace};

/// Until the first process speaks. Five seconds are usual.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Without a word, a guest hangs: no test takes so long.
const SILENCE_LIMIT: Duration = Duration::from_secs(180);
/// For the whole guest.
const LIMIT: Duration = Duration::from_secs(900);

/// Lines of each log that are shown when a guest failed.
const SHOWN: usize = 60;

/// Boots `kernel` with the file system `image` and waits for it to end. `console` gets what the kernel says, and a file
/// beside it what the tests say.
pub(super) fn run(emulator: &Emulator, kernel: &Kernel, image: &Path, console: &Path, steps: &[Step]) -> Result<()> {
    let tests = console.with_file_name("tests.log");
    let own = File::create(console.with_file_name("qemu.log")).context("create qemu.log")?;
    let mut command = emulator.command();
    command
        // Emulated everywhere, also where hardware could do it: every machine runs the same thing.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-serial")
        .arg(format!("file:{}", tests.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(image)
        // A panic, or an oops, ends the guest: `-no-reboot` makes the reboot an exit.
        .args(["-append", "console=ttyS0 quiet panic=-1 oops=panic"])
        .stdin(Stdio::null())
        .stdout(own.try_clone().context("share qemu.log")?)
        .stderr(own);
    let child = command.spawn().with_context(|| format!("start {}", workspace::show(&command)))?;
    let stopped = watch(Running(child), &kernel.release, &tests, steps)?;

    let said = read(&tests);
    let complaint = stopped.or_else(|| Heard::of(&said).complaint(steps));
    let Some(complaint) = complaint else { return Ok(()) };
    for log in [console.with_file_name("qemu.log"), console.to_owned(), tests] {
        say(&format!("--- the end of {}\n{}", log.display(), progress::tail(&read(&log), SHOWN)));
    }
    bail!(complaint)
}

/// The emulator's process, which does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or nobody waits for it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the guest's end and tells of each step. The answer is why it was stopped, if it was.
fn watch(mut guest: Running, release: &str, tests: &Path, steps: &[Step]) -> Result<Option<String>> {
    let (started, mut last_word, mut length) = (Instant::now(), Instant::now(), 0);
    let mut told = Told::new(release);
    loop {
        let ended = guest.0.try_wait().context("wait for the emulator")?.is_some();
        let said = read(tests);
        let heard = Heard::of(&said);
        if said.len() != length {
            (last_word, length) = (Instant::now(), said.len());
        }
        told.tell(&heard, &said, steps);
        if ended {
            return Ok(None);
        }
        let limit = [
            (!heard.booted && started.elapsed() > BOOT_LIMIT, "did not come up", BOOT_LIMIT),
            (last_word.elapsed() > SILENCE_LIMIT, "said nothing", SILENCE_LIMIT),
            (started.elapsed() > LIMIT, "did not come to an end", LIMIT),
        ];
        if let Some((_, what, limit)) = limit.into_iter().find(|(passed, ..)| *passed) {
            return Ok(Some(format!("the guest {what} for {} s, and was stopped", limit.as_secs())));
        }
        sleep(Duration::from_millis(50));
    }
}

/// What the person at the terminal knows: a line for the boot and for each step, with its results below.
struct Told {
    release: String,
    line: Option<progress::Line>,
    booted: bool,
    begun: Option<usize>,
    ended: usize,
}

impl Told {
    fn new(release: &str) -> Self {
        let line = Some(progress::Line::start(&format!("Linux {release}: boot")));
        Self { release: release.to_owned(), line, booted: false, begun: None, ended: 0 }
    }

    fn tell(&mut self, heard: &Heard, said: &str, steps: &[Step]) {
        if heard.booted && !self.booted {
            self.booted = true;
            self.end("");
        }
        for (index, code) in heard.ended.iter().skip(self.ended) {
            self.begin(*index, steps);
            self.end(if *code == 0 { "" } else { "  failed" });
            results(said, *index).for_each(|line| say(&format!("    {line}")));
        }
        self.ended = heard.ended.len();
        if let Some(index) = heard.running {
            self.begin(index, steps);
        }
        if let Some(line) = &self.line {
            line.tick();
        }
    }

    fn begin(&mut self, index: usize, steps: &[Step]) {
        if self.begun != Some(index) {
            self.begun = Some(index);
            let title = steps.get(index).map_or("an unknown step", |step| step.title);
            self.line = Some(progress::Line::start(&format!("Linux {}: {title}", self.release)));
        }
    }

    fn end(&mut self, remark: &str) {
        if let Some(line) = self.line.take() {
            line.end(remark);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.end("  stopped");
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
