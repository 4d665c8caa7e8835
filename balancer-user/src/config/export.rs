//! The present state as a config file: what a director with an empty state directory would take up where this one is.

use std::fmt::Write as _;

use super::{Action, Config, Health, Hooks, Listener, Retire, ReturnPath, Service};
use crate::{
    endpoint::Endpoint,
    model::{self, GuardDefault, State},
};

/// Writes the file. What a config cannot say stands in it as a comment.
pub fn export(config: &Config, state: &State) -> String {
    let mut text =
        String::from("# Written by `balancer config export`: settings as they run, versions as they are now.\n");
    let mut key = |name: &str, value: String| line(&mut text, name, &value);
    let path = |path: &std::path::Path| string(&path.display().to_string());
    key("name", string(&config.name));
    key("socket", path(&config.socket));
    key("state", path(&config.state));
    key("bpffs", path(&config.bpffs));
    key("hook", word(config.hook));
    key("interfaces", list(config.interfaces.iter().map(|name| string(name))));
    key("sources", list(config.sources.iter().map(|source| string(&source.to_string()))));
    key("flows", config.flows.to_string());
    key("sessions", config.sessions.to_string());
    key("flow_idle", time(config.flow_idle));
    let every = config.snapshot_every.map_or_else(|| string("never"), time);
    let _ = writeln!(text, "\n[snapshot]\nevery = {every}");
    if let Some(listen) = config.metrics {
        let _ = writeln!(text, "\n[metrics]\nlisten = {}", string(&listen.to_string()));
        if !listen.ip().is_loopback() {
            text.push_str("allow_remote = true\n");
        }
    }
    write_hooks(&mut text, "hooks", &config.hooks);
    for listener in &config.listeners {
        write_listener(&mut text, listener);
    }
    for service in &config.services {
        write_service(&mut text, service, state.service(&service.name));
    }
    text
}

fn write_listener(text: &mut String, listener: &Listener) {
    text.push_str("\n[[listener]]\n");
    line(text, "listen", &string(&listener.listen.to_string()));
    if let Some(default) = &listener.default {
        line(text, "default", &string(default));
    }
    line(text, "on_ambiguous", &word(listener.on_ambiguous));
    text.push_str("rules = [\n");
    for rule in &listener.rules {
        let conditions = rule.conditions().into_iter().map(|(key, value)| format!("{key} = {}, ", string(&value)));
        let _ = writeln!(text, "    {{ {}service = {} }},", conditions.collect::<String>(), string(&rule.service));
    }
    text.push_str("]\n");
}

fn write_service(text: &mut String, config: &Service, state: Option<&model::Service>) {
    text.push_str("\n[[service]]\n");
    let mut key = |name: &str, value: String| line(text, name, &value);
    key("name", string(&config.name));
    key("listen", string(&config.listen.to_string()));
    key("select", word(config.select));
    key("order", word(config.order));
    key("cookie", string(&config.cookie));
    key("parameter", string(&config.parameter));
    key("idle", time(config.idle));
    key("return", word(config.return_path));
    if config.return_path == ReturnPath::Snat {
        key("pool", word(config.pool));
    }
    if config.pool_legs > 0 {
        key("pool_legs", config.pool_legs.to_string());
    }
    key("on_unframed", word(config.on_unframed));
    key("rename_grace", time(config.rename_grace));
    key("on_backend_restart", word(config.on_backend_restart));
    key("missing_version", word(config.missing_version));
    key("retire", word(config.retire));
    if config.retire == Retire::Empty {
        key("keep", config.keep.to_string());
    }
    if let Some(active) = state.and_then(model::Service::active) {
        key("active", string(active.label.as_str()));
    }
    if let Some(adopt) = state.and_then(|state| state.adopt.as_ref()) {
        key("adopt", string(adopt.as_str()));
    }
    for left_out in state.map(left_out).unwrap_or_default() {
        let _ = writeln!(text, "# Not in here: {left_out}");
    }
    write_health(text, &config.health);
    write_canary(text, config.canary);
    write_hooks(text, "service.hooks", &config.hooks);
    for version in state.iter().flat_map(|state| &state.versions) {
        let backends = version.backends.iter().map(|backend| endpoint(&backend.endpoint()));
        let _ = writeln!(
            text,
            "\n[[service.version]]\nlabel = {}\nbackends = {}",
            string(version.label.as_str()),
            list(backends)
        );
    }
}

fn write_health(text: &mut String, health: &Health) {
    text.push_str("\n[service.health]\n");
    let mut key = |name: &str, value: String| line(text, name, &value);
    if let Some(path) = &health.path {
        key("path", string(path));
    }
    key("interval", time(health.interval));
    key("timeout", time(health.timeout));
    key("rise", health.rise.to_string());
    key("fall", health.fall.to_string());
    if let Some(slow_start) = health.slow_start {
        key("slow_start", time(slow_start));
    }
}

fn write_canary(text: &mut String, canary: GuardDefault) {
    text.push_str("\n[service.canary]\n");
    let mut key = |name: &str, value: String| line(text, name, &value);
    key("abort_over", string(&canary.over.to_string()));
    key("min_requests", canary.min_requests.to_string());
    key("sessions", string(canary.sessions.as_str()));
}

fn write_hooks(text: &mut String, table: &str, hooks: &Hooks) {
    for (name, hook) in hooks.all() {
        let _ = writeln!(text, "\n[{table}.{name}]");
        match &hook.action {
            Action::Command(words) => line(text, "command", &list(words.iter().map(|word| string(word)))),
            Action::Url(url) => line(text, "url", &string(url)),
        }
        line(text, "timeout", &time(hook.timeout));
    }
}

/// What a first start would not know.
fn left_out(service: &model::Service) -> Vec<String> {
    let mut left_out = Vec::new();
    if let Some(canary) = &service.canary {
        left_out.push(format!("{} is a canary with {} % of new sessions", canary.label, canary.percent));
    }
    for version in &service.versions {
        if version.drain.is_some() {
            left_out.push(format!("{} is being drained", version.label));
        }
    }
    if service.pause.is_some() {
        left_out.push("requests are held: it is paused".to_owned());
    }
    if !service.pins.is_empty() {
        left_out.push(format!("{} pins, whose values nobody knows any more", service.pins.len()));
    }
    left_out
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name} = {value}");
}

/// As TOML quotes it.
fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn word<T: serde::Serialize>(value: T) -> String {
    string(serde_json::to_value(value).unwrap_or_default().as_str().unwrap_or_default())
}

fn time(duration: std::time::Duration) -> String {
    string(&humantime::format_duration(duration).to_string())
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn endpoint(Endpoint { address, route, weight }: &Endpoint) -> String {
    let usual = *weight == crate::endpoint::Weight::default();
    if route.is_none() && usual {
        return string(&address.to_string());
    }
    let mut table = format!("{{ address = {}", string(&address.to_string()));
    if let Some(route) = route {
        let _ = write!(table, ", route = {}", string(&route.to_string()));
    }
    if !usual {
        let _ = write!(table, ", weight = {weight}");
    }
    table + " }"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        label::Label,
        model::{Circumstances, Condition, Conditions, Entrance, Mode, Rules, Verb, apply, begin, reselect},
    };

    const HEAD: &str = "name = \"lab\"\ninterfaces = [\"b1\"]\nsources = [\"10.60.254.1\"]\n";

    /// A first start with what was exported has the same settings and versions, and the same one is active.
    #[test]
    fn what_is_exported_begins_again() {
        let services = [
            "",
            "select = \"explicit\"\nidle = \"90s\"\nreturn = \"gateway\"\nretire = \"empty\"\nkeep = 3",
            "pool = \"off\"\non_unframed = \"keep\"\ncookie = \"SID\"\nrename_grace = \"1m 5s\"\n[service.health]\npath = \"/h\"\nslow_start = \"2s\"",
            "[service.canary]\nabort_over = \"never\"\nmin_requests = 7\nsessions = \"keep\"\n[service.hooks.during]\ncommand = [\"/bin/x\", \"a \\\"b\\\"\"]\ntimeout = \"1m 5s\"",
        ];
        for lines in services {
            let text = format!(
                "{HEAD}[metrics]\nlisten = \"0.0.0.0:1\"\nallow_remote = true\n[snapshot]\nevery = \"never\"\n[hooks.event]\nurl = \"http://[::1]:8/x\"\n[[service]]\nname = \"shop\"\nlisten = \"10.60.255.1:80\"\n{lines}"
            );
            let config = Config::parse(&text).unwrap();
            let conditions = Conditions([0, 1, 2].map(|id| (id, Condition::Up)).into());
            let rules = Rules {
                select: config.services[0].select,
                order: config.services[0].order,
                family: config.services[0].listen.into(),
            };
            let given = Circumstances::new(rules, &conditions);
            let mut state = State::default();
            state.ensure_service("shop").unwrap();
            let label = |text: &str| text.parse::<Label>().unwrap();
            for (name, backend) in
                [("001", "10.60.1.2:8080,route=n1"), ("002", "10.60.2.2:8080,weight=7"), ("003", "10.60.3.2:8080")]
            {
                let backends = vec![backend.parse().unwrap()];
                let verb = Verb::Add { label: label(name), backends, entrance: Entrance::Normal };
                apply(&mut state, "shop", &given, &verb).unwrap();
            }
            let flip = Verb::Flip { label: label("002"), mode: Mode::NewSessions };
            apply(&mut state, "shop", &given, &flip).unwrap();
            apply(&mut state, "shop", &given, &Verb::Adopt { label: Some(label("001")) }).unwrap();

            let exported = export(&config, &state);
            let again = Config::parse(&exported).unwrap_or_else(|error| panic!("{error}: {}\n{exported}", error.fix));
            let mut anew = State::default();
            begin(&mut anew, &again.services[0], &given).unwrap();
            assert_eq!(export(&again, &anew), exported);
            // Rules and health do not choose another one.
            assert_eq!(reselect(anew.service_mut("shop").unwrap(), rules, &conditions), None);
            let [old, new] = [&state, &anew].map(|state| state.service("shop").unwrap());
            assert_eq!((&new.active, &new.adopt), (&Some(label("002")), &Some(label("001"))));
            assert_eq!(new.active, old.active);
            let backends = |service: &model::Service| -> Vec<Endpoint> {
                service.versions.iter().flat_map(|version| &version.backends).map(model::Backend::endpoint).collect()
            };
            assert_eq!(backends(new), backends(old));
            // Settings: all but what is for a first start.
            let settings = |config: &Config| {
                let mut config = config.clone();
                for service in &mut config.services {
                    (service.active, service.adopt) = (None, None);
                    service.versions.clear();
                }
                config
            };
            assert_eq!(settings(&again), settings(&config));
        }
    }

    #[test]
    fn what_is_quoted_comes_back() {
        for text in ["a", "a\"b", "a\\b", "a'b", "ä\tb"] {
            let document: toml::Table = toml::from_str(&format!("x = {}", string(text))).unwrap();
            assert_eq!(document["x"].as_str(), Some(text));
        }
    }
}
