//! The command line's errors that need neither a kernel nor a daemon: each names the thing and the fix, and the exit code
//! says of which kind it is.

use assert_cmd::Command;

const GOOD: &str = r#"
name = "lab"
interfaces = ["no-such-if"]
sources = ["10.60.254.1"]
[[service]]
name = "shop"
listen = "10.60.255.1:80"
[[service.version]]
label = "001"
backends = ["10.60.1.2:8080"]
"#;

/// Runs `balancer` without a daemon; answers exit code and standard error.
fn balancer(args: &[&str]) -> (i32, String) {
    let mut command = Command::cargo_bin("balancer").unwrap();
    command.env("BALANCER_SOCKET", "/nowhere/balancer.sock").args(args);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn usage_errors() {
    let table: &[(&[&str], i32, &str)] = &[
        (&["version", "add", "shop", "00 1", "--backend", "10.0.0.1:80"], 2, "the version label `00 1` has a blank"),
        (&["version", "add", "shop", "", "--backend", "10.0.0.1:80"], 2, "a version label is empty"),
        (&["version", "add", "shop", "001"], 2, "--backend"),
        (&["version", "add", "shop", "001", "--backend", "10.0.0.1"], 2, "write \"10.0.0.1:8080\""),
        (&["version", "add", "shop", "001", "--backend", "2001:db8::1"], 2, "write \"[2001:db8::1]:8080\""),
        (&["flip", "shop", "0/1"], 2, "character '/'"),
        (&["flip", "shop", "001", "--mode", "sideways"], 2, "new-sessions"),
        (&["wait", "shop", "--for", "busy=001"], 2, "write idle=VERSION, drained=VERSION"),
        (&["wait", "shop", "--for", "idle=001", "--timeout", "soon"], 2, "--timeout"),
        (&["explain", "shop", "--source", "here"], 2, "--source"),
        (&["nonsense"], 2, "nonsense"),
        // No daemon.
        (&["status"], 5, "no daemon answers on /nowhere/balancer.sock"),
        (&["flip", "shop", "001"], 5, "start it: balancer run --config FILE"),
        (&["rollback", "shop"], 5, "no daemon answers"),
        // No config.
        (&["run", "--config", "/nowhere/balancer.toml"], 2, "/nowhere/balancer.toml: the config cannot be read"),
        (&["detach", "--config", "/nowhere/balancer.toml"], 2, "the config cannot be read"),
    ];
    for (args, code, says) in table {
        let (got, text) = balancer(args);
        assert!(got == *code && text.contains(says), "{args:?}: exit {got}: {text}");
    }
}

#[test]
fn config_errors_name_file_line_and_fix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("balancer.toml");
    let table = [
        ("name = \"lab\"", "name = \"lab\"\ncolor = \"blue\"", "balancer.toml:3: unknown key `color`"),
        (
            "10.60.1.2:8080",
            "10.60.1.2:99999",
            "balancer.toml:10: `backends`: `10.60.1.2:99999` is not an address and a port",
        ),
        ("\"001\"", "\"0 01\"", "balancer.toml:9: `label`: the version label `0 01` has a blank"),
    ];
    for (from, to, says) in table {
        std::fs::write(&path, GOOD.replace(from, to)).unwrap();
        let (code, text) = balancer(&["run", "--config", path.to_str().unwrap()]);
        assert!(code == 2 && text.contains(says) && text.contains("fix: "), "{to}: exit {code}: {text}");
    }
}

/// Whatever is missing here first (root, a kernel, bpffs, the interface), the daemon says it and leaves nothing behind.
#[test]
fn a_start_that_cannot_be_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("balancer.toml");
    let state = dir.path().join("state");
    std::fs::write(&path, format!("state = {state:?}\nsocket = \"{0}/x.sock\"\n{GOOD}", dir.path().display())).unwrap();
    let (code, text) = balancer(&["run", "--config", path.to_str().unwrap()]);
    assert!(code == 3 && text.contains("fix: "), "exit {code}: {text}");
    assert!(!state.exists());
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let (code, text) = balancer(&["status", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, value["code"].as_str()), (5, Some("no-daemon")));
    assert!(value["hint"].as_str().unwrap().contains("balancer run"));
}

#[test]
fn help_shows_a_config_and_completions_complete() {
    let mut command = Command::cargo_bin("balancer").unwrap();
    let output = command.args(["run", "--help"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("[[service.version]]"));
    let mut command = Command::cargo_bin("balancer").unwrap();
    let output = command.args(["completions", "bash"]).output().unwrap();
    assert!(output.status.success() && output.stdout.len() > 1000);
}
