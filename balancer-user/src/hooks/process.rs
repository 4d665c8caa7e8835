//! A program as a hook: without a shell, in a process group of its own, which is killed when its time is up.

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::keep;

/// Where programs find others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For so long what it said is still read after it ended: something that it left running may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Kills a group unless it has ended: whoever gives up on a hook must not leave it running.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended in this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Why it failed, if it did, and what it said.
pub(super) async fn run(
    words: &[String],
    document: Vec<u8>,
    environment: &[(&str, String)],
    timeout: Duration,
) -> (Option<String>, Vec<u8>) {
    let Some((program, arguments)) = words.split_first() else { return (Some("is empty".to_owned()), Vec::new()) };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    #[expect(unsafe_code, reason = "the library has no other way to say it")]
    // SAFETY: what runs in the child is one system call (prctl(2)), which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            // A migration must not go on while requests do: with the daemon dead, nobody else would end it.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into)
        });
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return (Some(format!("cannot be started: {error}")), Vec::new()),
    };
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let said = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        child.stdout.take().map(|stdout| tokio::spawn(read(stdout, said.clone()))),
        child.stderr.take().map(|stderr| tokio::spawn(read(stderr, said.clone()))),
    ];
    let stdin = child.stdin.take();
    let told = tokio::spawn(async move {
        if let Some(mut stdin) = stdin {
            // It need not read what it is told.
            let _ = stdin.write_all(&document).await;
        }
    });
    let problem = match tokio::time::timeout(timeout, child.wait()).await {
        Ok(Ok(status)) => {
            group.0 = None;
            (!status.success()).then(|| format!("failed ({status})"))
        }
        Ok(Err(error)) => Some(format!("cannot be waited for: {error}")),
        Err(_) => {
            group.kill();
            let _ = child.wait().await;
            Some(format!("did not end within {} and was killed", humantime::format_duration(timeout)))
        }
    };
    told.abort();
    let last = tokio::time::Instant::now() + LAST_WORDS;
    for mut reader in readers.into_iter().flatten() {
        if tokio::time::timeout_at(last, &mut reader).await.is_err() {
            reader.abort();
        }
    }
    let said = said.lock().map(|said| said.clone()).unwrap_or_default();
    (problem, said)
}

/// Reads to the end, also what is not kept: whoever writes must not wait for it.
async fn read(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut some = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut some).await {
        if let (Ok(mut said), Some(some)) = (said.lock(), some.get(..len)) {
            keep(&mut said, some);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    async fn sh(script: &str, timeout: Duration) -> (Option<String>, String) {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        let environment = [("BALANCER_TO", "002".to_owned())];
        let (problem, said) = run(&words, b"{\"to\":\"002\"}".to_vec(), &environment, timeout).await;
        (problem, String::from_utf8(said).unwrap())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_is_told_and_heard() {
        assert_eq!(sh("cat; echo; echo $BALANCER_TO $HOME", LONG).await, (None, "{\"to\":\"002\"}\n002\n".to_owned()));
        let (problem, said) = sh("echo no >&2; exit 7", LONG).await;
        assert!(problem.unwrap().contains("exit status: 7"));
        assert_eq!(said, "no\n");
        let missing = ["/no/such/program".to_owned()];
        let (problem, _) = run(&missing, Vec::new(), &[], LONG).await;
        assert!(problem.unwrap().contains("cannot be started"));
    }

    #[tokio::test]
    async fn it_is_killed_with_all_that_it_has_begun() {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = format!("echo $$ >{0}; sleep 100 & echo $! >>{0}; echo waits; wait", pids.display());
        let began = Instant::now();
        let (problem, said) = sh(&script, Duration::from_millis(500)).await;
        assert!(problem.unwrap().contains("within 500ms"));
        assert_eq!(said, "waits\n");
        assert!(began.elapsed() < Duration::from_secs(5));
        for pid in std::fs::read_to_string(pids).unwrap().lines() {
            let gone = |state: String| state.is_empty() || state.contains(") Z ");
            let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let deadline = Instant::now() + Duration::from_secs(5);
            while !gone(state()) {
                assert!(Instant::now() < deadline, "{pid} lives: {}", state());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    #[tokio::test]
    async fn what_it_says_is_bounded_and_what_it_leaves_behind_is_not_waited_for() {
        let (problem, said) = sh("head -c 1000000 /dev/zero | tr '\\0' x; exit 0", LONG).await;
        assert_eq!((problem, said.len()), (None, super::super::KEPT));
        let began = Instant::now();
        let (problem, said) = sh("sleep 3 & echo gone", LONG).await;
        assert_eq!((problem, said.as_str()), (None, "gone\n"));
        assert!(began.elapsed() < Duration::from_secs(2), "it was waited for");
        // One that reads nothing of a long document.
        let (problem, _) = run(&["/bin/true".to_owned()], vec![b'x'; 1 << 20], &[], LONG).await;
        assert_eq!(problem, None);
    }
}
