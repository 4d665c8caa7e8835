//! Hooks: when they are told, and whose they may be.

use super::{holds::exclusive, *};

/// D21: what the hook behind a flip has to be told is in the state with the flip, whoever flipped, until it was told.
#[tokio::test]
async fn what_a_hook_was_not_told_the_next_daemon_tells_it() {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    let told = bench.dir.path().join("told");
    let script = format!("cat >>{0}; echo >>{0}", told.display());
    let hook = |bench: &mut Bench| {
        let action = crate::config::Action::Command(["/bin/sh", "-c", &script].map(str::to_owned).to_vec());
        bench.director.config.hooks.post_flip =
            Some(crate::config::Callout { action, timeout: Duration::from_secs(20) });
    };
    bench.flip("001", Mode::NewSessions).unwrap();
    assert!(bench.director.state.untold.is_empty(), "there is no hook");
    hook(&mut bench);
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.flip("009", Mode::NewSessions).unwrap_err();
    bench.flip("002", Mode::Forced).unwrap();
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let address = "10.60.1.2:8080".parse().unwrap();
    bench.verb(Verb::Weigh { label: "001".parse().unwrap(), address, weight: 7.try_into().unwrap() }).unwrap();
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
    std::thread::sleep(Duration::from_millis(5));

    let mut again = bench.restarted();
    hook(&mut again);
    again.director.take_up_flips(true);
    again.attach();
    again.director.end_cut_off().unwrap();
    let Bench { director, fake: _fake, dir: _dir } = again;
    let director: Shared = Arc::new(Mutex::new(director));
    let teller = tokio::spawn(hooks::tell_flips(director.clone()));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !director.lock().await.state.untold.is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", director.lock().await.state.untold);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    teller.abort();
    let text = std::fs::read_to_string(told).unwrap();
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<[&str; 4]> =
        told.iter().map(|told| ["verb", "result", "from", "to"].map(|key| told[key].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ["flip", "unchanged", "001", "001"],
            ["flip", "done", "001", "002"],
            ["rollback", "done", "002", "001"],
            ["flip", "failed", "001", "002"]
        ]
    );
}

/// Hooks come from a file of root's alone, and name programs of root's alone.
#[test]
fn hooks_are_taken_from_root_only() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let dir = tempfile::tempdir().unwrap();
    let (file, program) = (dir.path().join("balancer.toml"), dir.path().join("hook"));
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let hooks = format!("[hooks.pre_flip]\ncommand = [{program:?}]\n[[service]]");
    std::fs::write(&file, TOML.replacen("[[service]]", &hooks, 1)).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (file, program) = (file.as_path(), program.as_path());
    // The modes of both, who owns them, and what is wrong with that.
    let table = [
        (0o644, 0o755, 0, 0, None),
        (0o600, 0o700, 0, 0, None),
        (0o664, 0o755, 0, 0, Some("this one has the mode 664")),
        (0o646, 0o755, 0, 0, Some("this one has the mode 646")),
        (0o644, 0o755, 1000, 0, Some("this one belongs to uid 1000")),
        (0o644, 0o775, 0, 0, Some("has the mode 775: whoever can change it would be root")),
        (0o644, 0o755, 0, 1000, Some("belongs to uid 1000: whoever can change it would be root")),
        (0o644, 0o644, 0, 0, Some("cannot be executed")),
    ];
    for (of_file, of_program, file_owner, program_owner, wrong) in table {
        mode(file, of_file);
        mode(program, of_program);
        chown(file, Some(file_owner), None).unwrap();
        chown(program, Some(program_owner), None).unwrap();
        match (Config::load(file), wrong) {
            (Ok(config), None) => assert!(config.hooks_of("shop").pre_flip.is_some()),
            (Err(error), Some(wrong)) => assert!(error.to_string().contains(wrong), "{error}"),
            (result, wrong) => panic!("{result:?}, not {wrong:?}"),
        }
    }
    chown(program, Some(0), None).unwrap();
    std::fs::remove_file(program).unwrap();
    assert!(Config::load(file).unwrap_err().to_string().contains("cannot be looked at"));
    // Without hooks anybody may have written it.
    std::fs::write(file, TOML).unwrap();
    mode(file, 0o666);
    Config::load(file).unwrap();
}
