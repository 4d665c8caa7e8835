//! Every verb of the command line: what it does, what it refuses, and what it does not understand.
//!
//! One table, a row a verb. The verbs themselves come from the binary's own help: one that has no row fails a test, so a new
//! verb cannot be forgotten. Rows are played in order on one daemon, each on what the rows before it left.
//!
//! A row begins with its bad input, then comes its success, then what is refused: what was done already is often what cannot be
//! done again. Neither bad input nor a refusal may change anything.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use balancer_tests::balancer::{Balancer, SOCKET_VARIABLE};
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use serde_json::Value;

use crate::programs;
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

/// Exit codes, as `balancer` documents them.
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const TIMED_OUT: i32 = 4;
const NO_DAEMON: i32 = 5;
const CONFLICT: i32 = 6;

/// A generation that no service gets to in a test, and what the conflict is called.
const STALE: [&str; 3] = ["generation", "not 999999", "--if-generation"];

/// A verb. Arguments are split at blanks; `{1}`, `{config}` and so on stand for what [`fill`] knows.
struct Row {
    verb: &'static str,
    /// Whom it talks to, and so what becomes of it where no daemon answers.
    asks: Asks,
    /// Commands that make its success possible.
    before: &'static [&'static str],
    /// Arguments that are wrong, and what the error names.
    bad: &'static [(&'static str, &'static [&'static str])],
    does: Does,
    /// Where `status shop --json` shows that it was done, as a JSON pointer, and what stands there then.
    then: Option<(&'static str, &'static str)>,
    /// Arguments that are refused, the exit code, and what the error says.
    refuses: &'static [(&'static str, i32, &'static [&'static str])],
}

enum Asks {
    /// The daemon alone: without one the exit code is 5.
    TheDaemon,
    /// Nobody, or the daemon if there is one.
    NobodyElse,
}

enum Does {
    /// With these arguments it ends well and prints all of this.
    Prints(&'static str, &'static [&'static str]),
    /// The same, and the daemon ends.
    EndsTheDaemon(&'static [&'static str]),
    /// It is the daemon: it answers, ends well when it is asked to end, and comes back.
    Serves,
}

/// What most rows have in common.
const ROW: Row = Row {
    verb: "",
    asks: Asks::TheDaemon,
    before: &[],
    bad: &[],
    does: Does::Prints("", &[]),
    then: None,
    refuses: &[],
};

/// 001 and 002 are there, 001 is active; a request is in flight on 001 from the beginning to the end.
const TABLE: &[Row] = &[
    Row {
        verb: "run",
        asks: Asks::NobodyElse,
        bad: &[
            ("", &["--config <FILE>"]),
            ("--config {config} --frob", &["--frob"]),
            ("--config {broken}", &["broken.toml:", "unknown key `sauces`", "fix:", "sources"]),
            ("--config /no/such.toml", &["/no/such.toml", "fix:", "--config"]),
        ],
        does: Does::Serves,
        refuses: &[
            ("--config {config}", REFUSED, &["another daemon", "fix:"]),
            ("--config {elsewhere}", REFUSED, &["nosuch0", "fix:"]),
        ],
        ..ROW
    },
    Row {
        verb: "status",
        bad: &[("shop 001", &["'001'"]), ("--frob", &["--frob"])],
        does: Does::Prints("shop", &["shop", "001", "active", "002", "{1}"]),
        refuses: &[("shoe", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    Row {
        verb: "version add",
        bad: &[
            ("shop 003", &["--backend"]),
            ("shop 0/3 --backend {3}", &["0/3", "'/'"]),
            ("shop 003 --backend 10.1.2.3", &["10.1.2.3", ":8080"]),
            ("shop 003 --backend {3},share=5", &["share=5", "weight=N"]),
        ],
        does: Does::Prints(
            "shop 003 --backend {3} --stage",
            &["done:", "003", "undo:    balancer version rm shop 003"],
        ),
        then: Some(("/versions/2/label", "003")),
        refuses: &[
            ("shop 003 --backend {2}", REFUSED, &["already has a version `003`", "version rm"]),
            ("shop 004 --backend {3} {3}", REFUSED, &["{3} twice"]),
            ("shoe 004 --backend {3}", REFUSED, &["no service `shoe`", "shop"]),
            ("shop 004 --backend {3} --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "version ls",
        bad: &[("", &["<SERVICE>"]), ("shop 001", &["'001'"])],
        does: Does::Prints("shop", &["001", "active", "002", "003", "{3}"]),
        refuses: &[("shoe", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    Row {
        verb: "version rm",
        bad: &[("shop", &["<VERSION>"]), ("shop 0/3", &["0/3", "'/'"])],
        does: Does::Prints("shop 003", &["done:", "003", "undo:    balancer version add shop 003 --backend {3}"]),
        then: Some(("/versions/2", "null")),
        refuses: &[
            ("shop 003", REFUSED, &["no version `003`", "001, 002"]),
            ("shop 001", REFUSED, &["`001` is the active version", "balancer flip shop"]),
            ("shop 002 --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "backend weight",
        bad: &[
            ("shop 001 {1}", &["<WEIGHT>"]),
            ("shop 001 {1} 1001", &["1001 is not a weight", "0 to 1000"]),
            ("shop 001 10.1.2.3 50", &["10.1.2.3", ":8080"]),
        ],
        does: Does::Prints(
            "shop 001 {1} 50",
            &["done:", "{1}", "weight 50 (was 100)", "undo:    balancer backend weight shop 001 {1} 100"],
        ),
        then: Some(("/versions/0/backends/0/weight", "50")),
        refuses: &[
            ("shop 001 {2} 50", REFUSED, &["no backend {2}", "{1}"]),
            ("shop 009 {1} 50", REFUSED, &["no version `009`", "001, 002"]),
            ("shop 001 {1} 70 --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "service adopt",
        bad: &[("shop", &["<VERSION|off>"]), ("shop 0/2", &["0/2", "'/'"])],
        does: Does::Prints("shop 002", &["done:", "adopted into 002", "undo:    balancer service adopt shop off"]),
        then: Some(("/adopt", "002")),
        refuses: &[
            ("shop 009", REFUSED, &["no version `009`", "001, 002"]),
            ("shop off --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "flip",
        bad: &[
            ("shop", &["<VERSION>"]),
            ("shop 002 --mode sudden", &["sudden", "forced"]),
            ("shop 002 --mode percent", &["--percent"]),
            ("shop 002 --mode percent --percent 101", &["101 is not a share", "0.01 to 100"]),
            ("shop 002 --percent 10", &["a percentage", "--mode percent"]),
            ("shop 002 --max-hold 5s", &["a longest hold", "--mode exclusive"]),
            ("shop 002 --mode exclusive --max-hold 11m", &["cannot be held for 11m", "up to 10m"]),
            ("shop 002 --mode exclusive --on-timeout burn", &["burn", "return", "cut"]),
            ("shop 002 --mode forced --on-timeout cut", &["time-out", "--mode exclusive"]),
            ("shop 002 --opaque close", &["opaque", "--mode exclusive"]),
            ("shop 002 --mode exclusive --opaque burn", &["burn", "wait", "close"]),
            ("shop 002 --abandon-after 5s", &["abandoned", "--mode exclusive"]),
            ("shop 002 --abort-over 5%", &["a limit of failures", "--mode percent"]),
            ("shop 002 --mode percent --percent 5 --abort-over often", &["`often`", "never"]),
            ("shop 002 --mode percent --percent 5 --min-requests 0", &["--min-requests"]),
        ],
        does: Does::Prints("shop 002", &["will:", "done:", "002", "undo:    balancer flip shop 001"]),
        then: Some(("/active", "002")),
        refuses: &[
            ("shop 009", REFUSED, &["no version `009`", "001, 002"]),
            ("shoe 001", REFUSED, &["no service `shoe`", "shop"]),
            ("shop 001 --mode forced --confirm shoe", REFUSED, &["`shoe` is not the service's name", "--confirm shop"]),
            ("shop 002 --mode percent --percent 10", REFUSED, &["`002` is the active version", "--stage"]),
            ("shop 002 --mode exclusive --max-hold 300ms", TIMED_OUT, &["300ms", "1 on 001", "--max-hold"]),
            ("shop 001 --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "rollback",
        bad: &[("", &["<SERVICE>"]), ("shop --sessions lose", &["lose", "move", "keep"])],
        does: Does::Prints(
            "shop --sessions keep",
            &["done:", "rolled back from 002 to 001", "undo:    balancer flip shop 002"],
        ),
        then: Some(("/active", "001")),
        refuses: &[
            ("shop --if-generation 999999", CONFLICT, &STALE),
            ("shop", REFUSED, &["no version to go back to", "balancer flip shop"]),
        ],
        ..ROW
    },
    Row {
        verb: "promote",
        before: &["flip shop 002 --mode percent --percent 10"],
        bad: &[("shop 002", &["'002'"]), ("shop --if-generation last", &["last", "--if-generation"])],
        does: Does::Prints("shop", &["done:", "002", "undo:    balancer"]),
        then: Some(("/active", "002")),
        refuses: &[
            ("shop", REFUSED, &["has no canary", "--mode percent"]),
            ("shop --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "abort",
        before: &["flip shop 001", "flip shop 002 --mode percent --percent 10"],
        bad: &[("shop 002", &["'002'"]), ("shop --sessions lose", &["lose", "move", "keep"])],
        does: Does::Prints("shop", &["done:", "002", "undo:    balancer flip shop 002 --mode percent --percent 10"]),
        then: Some(("/canary", "null")),
        refuses: &[
            ("shop", REFUSED, &["has no canary", "--mode percent"]),
            ("shop --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "pause",
        bad: &[
            ("", &["<SERVICE>"]),
            ("shop --max-hold 11m", &["cannot be held for 11m", "up to 10m"]),
            ("shop --max-hold soon", &["soon", "--max-hold"]),
        ],
        does: Does::Prints(
            "shop --max-hold 5m",
            &["will:    new requests are held", "5m at most", "undo:    balancer resume shop"],
        ),
        then: Some(("/hold/paused", "true")),
        refuses: &[
            ("shoe", REFUSED, &["no service `shoe`", "shop"]),
            ("shop --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "resume",
        bad: &[("", &["<SERVICE>"]), ("shop 001", &["'001'"])],
        does: Does::Prints("shop", &["done:", "requests go on"]),
        then: Some(("/hold", "null")),
        refuses: &[
            ("shop", REFUSED, &["`shop` is not paused", "balancer pause shop"]),
            ("shop --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "drain",
        before: &["flip shop 002"],
        bad: &[
            ("shop 001 --deadline soon", &["soon", "--deadline"]),
            ("shop 001 --then burn", &["burn", "retire"]),
            ("shop 001 --cancel --wait", &["--cancel", "--wait"]),
            ("shop 001 --timeout 1s", &["--wait"]),
        ],
        does: Does::Prints("shop 001 --then keep", &["done:", "001", "undo:    balancer drain shop 001 --cancel"]),
        then: Some(("/versions/0/state", "draining")),
        refuses: &[
            ("shop 001 --then keep --wait --timeout 300ms", TIMED_OUT, &["still draining", "1 requests in flight"]),
            ("shop 002", REFUSED, &["`002` is the active version", "balancer flip shop"]),
            ("shop 009", REFUSED, &["no version `009`", "001, 002"]),
            ("shop 001 --cancel --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "retire",
        before: &["version add shop 003 --backend {3} --stage"],
        bad: &[("shop", &["<VERSION>"]), ("shop 0/3", &["0/3", "'/'"])],
        does: Does::Prints("shop 003", &["done:", "003", "undo:    balancer version add shop 003 --backend {3}"]),
        then: Some(("/retired/0/label", "003")),
        refuses: &[
            ("shop 001", REFUSED, &["`001` of `shop` is not empty", "1 requests in flight", "--force"]),
            ("shop 002", REFUSED, &["`002` is the active version", "balancer flip shop"]),
            ("shop 001 --force --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "pin add",
        before: &["flip shop 001"],
        bad: &[
            ("shop --to 002", &["--source <CIDR>"]),
            ("shop --to 0/2 --query pin", &["0/2", "'/'"]),
            ("shop --to 002 --source 10.9.0.0/33", &["10.9.0.0/33", "192.0.2.0/24"]),
            ("shop --to 002 --query pin --ttl 0s", &["0s", "never"]),
            ("shop --to 002 --query pin --value mine", &["--source"]),
            ("shop --to 002 --cookie pin --query pin", &["--cookie", "--query"]),
            ("shop --to 002 --cookie JSESSIONID", &["JSESSIONID"]),
        ],
        does: Does::Prints("shop --to 002 --source 10.9.0.0/24", &["done:", "002", "undo:    balancer pin rm shop 1"]),
        refuses: &[
            ("shop --to 001 --source 10.9.0.0/24", REFUSED, &["has that pin already: pin 1", "pin rm shop 1"]),
            ("shop --to 009 --query pin", REFUSED, &["no version `009`", "001, 002"]),
            ("shop --to 002 --query pin --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "pin ls",
        bad: &[("shop 1", &["'1'"]), ("--frob", &["--frob"])],
        does: Does::Prints("shop", &["shop", "1", "002", "10.9.0.0/24"]),
        refuses: &[("shoe", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    Row {
        verb: "pin rm",
        bad: &[("shop", &["<ID>"]), ("shop one", &["one", "<ID>"])],
        does: Does::Prints("shop 1", &["done:", "pin 1"]),
        refuses: &[
            ("shop 1", REFUSED, &["no pin 1"]),
            ("shoe 1", REFUSED, &["no service `shoe`", "shop"]),
            ("shop 1 --if-generation 999999", CONFLICT, &STALE),
        ],
        ..ROW
    },
    Row {
        verb: "wait",
        bad: &[
            ("shop", &["--for <WHAT=VERSION>"]),
            ("shop --for busy=001", &["busy=001", "idle=VERSION"]),
            ("shop --for idle=0/1", &["0/1", "'/'"]),
            ("shop --for idle=001 --timeout long", &["long", "--timeout"]),
        ],
        does: Does::Prints("shop --for active=001", &["shop: 001 is active"]),
        refuses: &[
            ("shop --for idle=001 --timeout 300ms", TIMED_OUT, &["001", "300ms", "1 requests are in flight"]),
            ("shop --for active=002 --timeout 300ms", TIMED_OUT, &["002", "300ms", "balancer flip shop 002"]),
            ("shop --for drained=001", REFUSED, &["`001` is the active version", "balancer drain shop 001"]),
            ("shop --for healthy=009", REFUSED, &["no version `009`", "001, 002"]),
            ("shoe --for idle=001", REFUSED, &["no service `shoe`", "shop"]),
        ],
        ..ROW
    },
    Row {
        verb: "session ls",
        bad: &[("", &["<SERVICE>"]), ("shop --limit many", &["many", "--limit"])],
        does: Does::Prints("shop", &["001", "{1}", "1 of 1 sessions"]),
        refuses: &[("shoe", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    // It asks nobody, so nobody can refuse.
    Row {
        verb: "config check",
        asks: Asks::NobodyElse,
        bad: &[
            ("", &["<FILE>"]),
            ("{broken}", &["broken.toml:", "unknown key `sauces`", "fix:", "sources"]),
            ("{misruled}", &["misruled.toml:", "`shoe` is no service on", "fix:", "shop, admin"]),
            ("/no/such.toml", &["/no/such.toml", "cannot be read", "fix:"]),
        ],
        does: Does::Prints("{ruled}", &["{ruled} is a good config", "shop", "admin"]),
        ..ROW
    },
    // Comparing changes nothing, so there is nothing to refuse.
    Row {
        verb: "config diff",
        bad: &[
            ("{config} {config}", &["unexpected argument"]),
            ("{broken}", &["broken.toml:", "unknown key `sauces`", "fix:"]),
            ("/no/such.toml", &["/no/such.toml", "cannot be read"]),
        ],
        does: Does::Prints(
            "{ruled}",
            &[
                "refuse:  interfaces ",
                "nosuch0",
                "restart the daemon",
                "stays:   shop: version 001 {1},weight=50 -> {1}",
                "reload:  admin: service not there -> http://",
                " rules none -> admin if path /admin",
                " default not there -> shop",
            ],
        ),
        ..ROW
    },
    // What it refuses is in the file, and has stories of its own (`config.rs`).
    Row {
        verb: "config reload",
        bad: &[("{config}", &["unexpected argument"]), ("--reason", &["--reason <TEXT>"])],
        does: Does::Prints("--reason test", &["will:    nothing", "nothing changed"]),
        ..ROW
    },
    // It only tells.
    Row {
        verb: "config export",
        bad: &[("shop", &["'shop'"]), ("--frob", &["--frob"])],
        does: Does::Prints("", &["name = \"shop\"", "active = \"001\"", "label = \"002\"", "{1}", "weight = 50"]),
        ..ROW
    },
    // Nothing makes it refuse, but that nobody is there who could write.
    Row {
        verb: "snapshot",
        bad: &[("now", &["'now'"]), ("--frob", &["--frob"])],
        does: Does::Prints("", &["done:", "1 sessions are in {dir}/state"]),
        ..ROW
    },
    Row {
        verb: "explain",
        bad: &[
            ("shop", &["--source <IP>"]),
            ("shop --source here", &["here", "--source"]),
            ("shop --source {client} --path nowhere", &["no request", "begins with /"]),
        ],
        does: Does::Prints("shop --source {client}", &["001 on {1} (active)"]),
        refuses: &[("shoe --source {client}", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    Row {
        verb: "events",
        bad: &[("shop shop", &["'shop'"]), ("--limit many", &["many", "--limit"])],
        does: Does::Prints("shop --limit 1000", &["shop ", "rolled back from 002 to 001"]),
        refuses: &[("shoe", REFUSED, &["no service `shoe`", "shop"])],
        ..ROW
    },
    Row {
        verb: "history",
        bad: &[("shop shop", &["'shop'"]), ("--limit many", &["many", "--limit"])],
        does: Does::Prints("shop --limit 1000", &["rollback", "002 -> 001", "balancer flip shop 002", "root"]),
        ..ROW
    },
    Row {
        verb: "doctor",
        asks: Asks::NobodyElse,
        bad: &[("--config", &["--config <FILE>"]), ("shop", &["'shop'"])],
        does: Does::Prints("--config {config}", &["is a good config", "backend {1} of shop accepts connections"]),
        refuses: &[("--config {elsewhere}", REFUSED, &["1 of", "checks failed"])],
        ..ROW
    },
    // It does without a daemon, a kernel and a config, so nobody can refuse.
    Row {
        verb: "completions",
        asks: Asks::NobodyElse,
        bad: &[("", &["<SHELL>"]), ("tcsh", &["tcsh", "bash"])],
        does: Does::Prints("bash", &["complete -F _balancer", "rollback"]),
        ..ROW
    },
    // The last one: afterwards there is no daemon any more.
    Row {
        verb: "detach",
        asks: Asks::NobodyElse,
        bad: &[
            ("shop", &["'shop'"]),
            ("--config {config} --name shop", &["--config", "--name"]),
            ("--config {broken}", &["broken.toml:", "unknown key `sauces`", "fix:"]),
            ("--config /no/such.toml", &["/no/such.toml", "fix:", "--config"]),
        ],
        does: Does::EndsTheDaemon(&["removed", "no longer steered"]),
        refuses: &[("--bpffs {dir}", NO_DAEMON, &["nothing is pinned below {dir}", "--config"])],
        ..ROW
    },
];

#[test]
fn every_verb_of_the_help_has_a_row() -> Result<()> {
    let mut told = BTreeSet::new();
    verbs(&[], &mut told)?;
    ensure!(told.len() > 20, "the help is not understood: {told:?}");
    let rows: BTreeSet<String> = TABLE.iter().map(|row| row.verb.to_owned()).collect();
    ensure!(rows.len() == TABLE.len(), "a verb has two rows");
    let without: Vec<_> = told.difference(&rows).collect();
    ensure!(without.is_empty(), "no row says what these do, refuse and do not understand: {without:?}");
    let gone: Vec<_> = rows.difference(&told).collect();
    ensure!(gone.is_empty(), "rows of verbs that the help does not name: {gone:?}");
    for Row { verb, bad, .. } in TABLE {
        ensure!(!bad.is_empty(), "no bad input for {verb}");
    }
    Ok(())
}

/// Collects the verbs below `above` that have none below themselves, as `balancer ABOVE --help` lists them.
fn verbs(above: &[&str], found: &mut BTreeSet<String>) -> Result<()> {
    let output = Command::new(programs::balancer()?).args(above).arg("--help").output()?;
    ensure!(output.status.success(), "no help for {above:?}: {output:?}");
    let help = String::from_utf8(output.stdout)?;
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A line that begins further to the right goes on with what the one before it says.
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let below: Vec<&str> = names.filter(|name| !name.is_empty() && *name != "help").collect();
    if below.is_empty() {
        found.insert(above.join(" "));
    }
    below.into_iter().try_for_each(|name| verbs(&[above, &[name]].concat(), found))
}

#[test]
fn each_verb_does_refuses_and_does_not_understand() -> Result<()> {
    let stage = Stage::new(Hook::Tc, "verbs").hosts(3).explicit().versions(&[("001", &[1]), ("002", &[2])]);
    stage.play(|scene| {
        scene.start(3, "003")?;
        begins_on(&mut scene.browser(), "001")?;
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=600000"))?;
        wait_until("a request is in flight", Duration::from_secs(3), || {
            Ok(scene.json(&["status", "shop"])?["versions"][0]["in_flight"] == 1)
        })?;
        let broken = scene.config.replace("sources =", "sauces =");
        std::fs::write(scene.lab.dir().join("broken.toml"), broken)?;
        let interface = scene.lab.interfaces().first().context("no interface")?.to_string();
        let elsewhere = scene.config.replace(&format!("{interface:?}"), "\"nosuch0\"");
        std::fs::write(scene.lab.dir().join("elsewhere.toml"), &elsewhere)?;
        let ruled = with_rules(scene, &elsewhere)?;
        std::fs::write(
            scene.lab.dir().join("misruled.toml"),
            ruled.replace("service = \"admin\"", "service = \"shoe\""),
        )?;
        std::fs::write(scene.lab.dir().join("ruled.toml"), ruled)?;
        for row in TABLE {
            plays(scene, row).with_context(|| format!("balancer {}", row.verb))?;
        }
        Ok(())
    })
}

/// A config with a second service on its address, for `/admin`.
fn with_rules(scene: &Scene, config: &str) -> Result<String> {
    let listen = config.lines().find(|line| line.starts_with("listen = ")).context("no service listens")?;
    let backend = scene.lab.application(3);
    Ok(format!(
        "{config}\n[[service]]\nname = \"admin\"\n{listen}\n[[service.version]]\nlabel = \"001\"\nbackends = [\"{backend}\"]\n\n\
         [[listener]]\n{listen}\ndefault = \"shop\"\nrules = [{{ path = \"/admin\", service = \"admin\" }}]\n"
    ))
}

/// Bad input, success, no daemon, refusals.
fn plays(scene: &mut Scene, row: &Row) -> Result<()> {
    for command in row.before {
        balancer(scene, command).and_then(succeeds)?;
    }
    for (arguments, says) in row.bad {
        fails(scene, row.verb, arguments, USAGE, says)?;
    }
    let prints = |scene: &Scene, arguments: &str, says: &[&str]| {
        let said = balancer(scene, &format!("{} {arguments}", row.verb)).and_then(succeeds)?;
        for part in says {
            let part = fill(scene, part);
            ensure!(said.contains(&part), "`{arguments}` does not print `{part}`: {said}");
        }
        Ok(())
    };
    match row.does {
        Does::Serves => serves(scene)?,
        Does::EndsTheDaemon(says) => {
            prints(scene, "", says)?;
            scene.balancer.process().wait(Duration::from_secs(10))?.context("the daemon does not end")?;
        }
        Does::Prints(arguments, says) => {
            if let Asks::TheDaemon = row.asks {
                let nobody = format!("{arguments} --socket {{nobody}}");
                fails(
                    scene,
                    row.verb,
                    &nobody,
                    NO_DAEMON,
                    &["no daemon answers on {nobody}", "balancer run --config"],
                )?;
            }
            prints(scene, arguments, says)?;
        }
    }
    if let Some((pointer, wanted)) = row.then {
        let status = scene.json(&["status", "shop"])?;
        let is = status.pointer(pointer).map_or("null".to_owned(), ToString::to_string);
        ensure!(is.trim_matches('"') == wanted, "{pointer} is {is}, not {wanted}: {status}");
    }
    row.refuses.iter().try_for_each(|(arguments, code, says)| fails(scene, row.verb, arguments, *code, says))
}

/// The daemon ends well when it is told to, and is there again.
fn serves(scene: &mut Scene) -> Result<()> {
    scene.balancer.process().signal(Signal::TERM)?;
    let status = scene.balancer.process().wait(Duration::from_secs(10))?.context("the daemon does not end")?;
    ensure!(status.success(), "the daemon ended with {status}");
    scene.restart()?;
    ensure!(scene.active()? == "001");
    scene.healthy("001")?;
    scene.healthy("002")
}

/// The command ends with `code`, says each part on standard error, and changes nothing.
fn fails(scene: &Scene, verb: &str, arguments: &str, code: i32, says: &[&str]) -> Result<()> {
    let before = everything(scene)?;
    let output = balancer(scene, &format!("{verb} {arguments}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(code), "`{arguments}`: {}, not {code}: {text}", output.status);
    ensure!(text.contains("error: "), "`{arguments}` names no error: {text}");
    for part in says {
        let part = fill(scene, part);
        ensure!(text.contains(&part), "`{arguments}` does not say `{part}`: {text}");
    }
    ensure!(everything(scene)? == before, "`{arguments}` changed something");
    Ok(())
}

/// All that a command could change, but for how long pins still last; or that nobody is there to ask.
fn everything(scene: &Scene) -> Result<(Option<i32>, String, Value)> {
    let history = balancer(scene, "history --json --limit 100000")?;
    let pins = balancer(scene, "pin ls --json")?;
    let mut pins: Value = serde_json::from_slice(&pins.stdout).unwrap_or_default();
    for pin in pins["pins"].as_array_mut().into_iter().flatten() {
        pin["seconds_left"].take();
    }
    Ok((history.status.code(), String::from_utf8_lossy(&history.stdout).into_owned(), pins))
}

fn succeeds(output: Output) -> Result<String> {
    let Output { status, stdout, stderr } = output;
    if !status.success() {
        bail!("{status}: {}", String::from_utf8_lossy(&stderr));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a command line in the director's namespace. `timeout` ends what should have refused to begin, such as a second daemon.
fn balancer(scene: &Scene, line: &str) -> Result<Output> {
    let mut command = scene.lab.director().command("timeout");
    command.arg("20").arg(programs::balancer()?).args(fill(scene, line).split_whitespace());
    command.env(SOCKET_VARIABLE, Balancer::socket(scene.lab)).stdin(Stdio::null());
    command.output().with_context(|| format!("run balancer {line}"))
}

/// Puts the lab's names into arguments and expectations.
fn fill(scene: &Scene, text: &str) -> String {
    let file = |name: &str| scene.lab.dir().join(name).display().to_string();
    let host = |index| scene.lab.application(index).to_string();
    let names = [
        ("{1}", host(1)),
        ("{2}", host(2)),
        ("{3}", host(3)),
        ("{client}", scene.lab.client().address().to_string()),
        ("{config}", file("balancer.toml")),
        ("{broken}", file("broken.toml")),
        ("{elsewhere}", file("elsewhere.toml")),
        ("{misruled}", file("misruled.toml")),
        ("{ruled}", file("ruled.toml")),
        ("{nobody}", file("nobody.sock")),
        ("{dir}", scene.lab.dir().display().to_string()),
    ];
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}
