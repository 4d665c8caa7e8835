//! What each route does.

use std::time::Duration;

use log::warn;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Context, Route, exclusive,
    flips::{self, Asked, Wish},
};
use crate::{
    audit::Actor,
    config::Select,
    daemon::unix_now,
    exit::Failure,
    label::Label,
    model::{Condition, Drainage, Entrance, GuardWish, Mode, Verb},
    terms::split,
    wire::{
        Abort, AddVersion, Adopt, Detached, DiffConfig, Done, DrainVersion, ExplainRequest, Flip, FlipMode, Nothing,
        Pause, PinList, Rollback, Terms, Weigh,
    },
};

/// Seconds for which one may wait for an event.
const MOST_WAIT: u64 = 60;
/// How often a new version's first check is looked for.
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn answer(route: Route, body: &[u8], caller: &Actor, context: &Context) -> Result<Value, Failure> {
    let mut director = context.director.lock().await;
    match route {
        Route::Status { sessions } => value(director.status(sessions)?),
        Route::Service { service, sessions } => {
            director.service_config(&service)?;
            value(director.service_status(&service, sessions)?)
        }
        Route::Pins { service } => value(PinList { pins: director.pins(service.as_deref())? }),
        Route::AddPin { service } => {
            let (request, terms) = split(body)?;
            value(director.add_pin(&service, &request, caller, &terms)?)
        }
        Route::RemovePin { service, id } => {
            let (Nothing {}, terms) = split(body)?;
            value(director.change(&service, &Verb::RemovePin { id }, caller, &terms)?)
        }
        Route::Events { since, wait, service, limit } => {
            if let Some(service) = &service {
                director.service_config(service)?;
            }
            let news = director.news();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(wait.min(MOST_WAIT));
            loop {
                // Asked for before the look, so that nothing happens unseen in between.
                let news = news.notified();
                tokio::pin!(news);
                news.as_mut().enable();
                let events = director.events(since, service.as_deref(), limit);
                if !events.events.is_empty() || tokio::time::Instant::now() >= deadline {
                    return value(events);
                }
                drop(director);
                let _ = tokio::time::timeout_at(deadline, news).await;
                director = context.director.lock().await;
            }
        }
        Route::History => value(director.history()),
        Route::Sessions { service, limit } => value(director.sessions(&service, limit)?),
        Route::Explain { service } => {
            let request: ExplainRequest = required(body)?;
            value(director.explain(&service, &request)?)
        }
        Route::AddVersion { service } => {
            drop(director);
            add(&service, split(body)?, caller, context).await
        }
        Route::RemoveVersion { service, label } => {
            let (Nothing {}, terms) = split(body)?;
            let done = director.change(&service, &Verb::Remove { label }, caller, &terms)?;
            context.changed.notify_one();
            value(done)
        }
        Route::Flip { service } => {
            let (flip, terms) = split(body)?;
            drop(director);
            let verb = flip_verb(&flip)?;
            let wish = wish(service, verb, terms, caller, context);
            value(match flip.mode {
                FlipMode::Exclusive => exclusive::flip(wish, flip).await?,
                FlipMode::NewSessions | FlipMode::Forced | FlipMode::Percent => {
                    flips::change(wish, Asked::PreFlip).await?
                }
            })
        }
        Route::Adopt { service } => {
            let (Adopt { version: label }, terms) = split(body)?;
            value(director.change(&service, &Verb::Adopt { label }, caller, &terms)?)
        }
        Route::Drain { service, label } => {
            let (DrainVersion { deadline_seconds, then, cancel }, terms) = split(body)?;
            let deadline = deadline_seconds.map(|seconds| unix_now().saturating_add(seconds));
            let drainage = if cancel { Drainage::Cancel } else { Drainage::Begin { deadline, then } };
            value(director.change(&service, &Verb::Drain { label, drainage }, caller, &terms)?)
        }
        Route::Retire { service, label } => {
            let (Nothing {}, terms) = split(body)?;
            let done = director.change(&service, &Verb::Retire { label }, caller, &terms)?;
            context.changed.notify_one();
            value(done)
        }
        Route::Promote { service } => {
            let (Nothing {}, terms) = split(body)?;
            drop(director);
            value(flips::change(wish(service, Verb::Promote, terms, caller, context), Asked::PreFlip).await?)
        }
        Route::Abort { service } => {
            let (Abort { sessions }, terms) = split(body)?;
            drop(director);
            value(flips::change(wish(service, Verb::Abort { sessions }, terms, caller, context), Asked::Nobody).await?)
        }
        Route::Weigh { service, label } => {
            let (Weigh { backend: address, weight }, terms) = split(body)?;
            value(director.change(&service, &Verb::Weigh { label, address, weight }, caller, &terms)?)
        }
        Route::Rollback { service } => {
            let (Rollback { sessions }, terms) = split(body)?;
            drop(director);
            let verb = Verb::Rollback { sessions };
            value(flips::change(wish(service, verb, terms, caller, context), Asked::Nobody).await?)
        }
        Route::Pause { service } => {
            let (Pause { max_hold_milliseconds }, terms) = split(body)?;
            let time = exclusive::hold(max_hold_milliseconds)?;
            value(director.pause(&service, time, caller, &terms)?)
        }
        Route::Resume { service } => {
            let (Nothing {}, terms) = split(body)?;
            value(director.resume(&service, caller, &terms)?)
        }
        Route::ConfigDiff => {
            let DiffConfig { text } = if body.is_empty() { DiffConfig::default() } else { required(body)? };
            value(director.config_diff(text.as_deref())?)
        }
        Route::ConfigReload => {
            let (Nothing {}, terms) = split(body)?;
            let done = director.reload(caller, &terms)?;
            // Others are to be checked now, or in another way.
            context.changed.notify_one();
            value(done)
        }
        Route::ConfigExport => value(director.export()),
        Route::Snapshot => {
            let keeper = director.keeper();
            drop(director);
            value(keeper.take().await?)
        }
        Route::Detach => {
            // The sessions are not over: the next start knows them.
            if let Err(failure) = director.keeper().take().await {
                warn!("{}", failure.error);
            }
            let removed = director.detach()?;
            context.stop.notify_one();
            value(Detached { removed })
        }
    }
}

/// What somebody wants whom hooks are asked about.
fn wish(service: String, verb: Verb, terms: Terms, caller: &Actor, context: &Context) -> Wish {
    Wish { service, verb, terms, caller: caller.clone(), context: context.clone() }
}

/// What a flip does to the state, once it comes to that.
fn flip_verb(flip: &Flip) -> Result<Verb, Failure> {
    let Flip { version: label, mode, percent, abort_over: over, min_requests, .. } = flip;
    let others = [
        (percent.is_some(), "a percentage goes", FlipMode::Percent),
        (over.is_some() || min_requests.is_some(), "a limit of failures goes", FlipMode::Percent),
        (flip.max_hold_milliseconds.is_some(), "a longest hold goes", FlipMode::Exclusive),
        (flip.on_timeout.is_some(), "what to do about a time-out goes", FlipMode::Exclusive),
        (flip.opaque.is_some(), "what to do about opaque connections goes", FlipMode::Exclusive),
        (flip.abandon_after_milliseconds.is_some(), "a time for abandoned requests goes", FlipMode::Exclusive),
    ];
    for (said, what, with) in others {
        if said && *mode != with {
            let with = if with == FlipMode::Percent { "percent" } else { "exclusive" };
            return Err(Failure::usage(format!("{what} with the mode `{with}` only"), format!("add --mode {with}")));
        }
    }
    let label = label.clone();
    Ok(match (mode, percent) {
        (FlipMode::NewSessions, _) => Verb::Flip { label, mode: Mode::NewSessions },
        (FlipMode::Forced, _) => Verb::Flip { label, mode: Mode::Forced },
        (FlipMode::Exclusive, _) => Verb::Flip { label, mode: Mode::Exclusive },
        (FlipMode::Percent, Some(percent)) => {
            let guard = GuardWish { over: *over, min_requests: *min_requests };
            Verb::Canary { label, percent: *percent, guard }
        }
        (FlipMode::Percent, None) => {
            return Err(Failure::usage("how many percent of new sessions is not said", "add --percent 10"));
        }
    })
}

/// Adds a version and waits for its first checks, so that the answer says whether it serves.
async fn add(
    service: &str,
    (request, terms): (AddVersion, Terms),
    caller: &Actor,
    context: &Context,
) -> Result<Value, Failure> {
    let backends = request
        .backends
        .iter()
        .map(|text| text.parse().map_err(|error: String| Failure::usage(error, "")))
        .collect::<Result<_, _>>()?;
    let label = request.version;
    let entrance = if request.stage { Entrance::Staged } else { Entrance::Normal };
    let verb = Verb::Add { label: label.clone(), backends, entrance };
    let (mut done, timeout, before) = {
        let mut director = context.director.lock().await;
        let timeout = director.service_config(service)?.health.timeout;
        let before = director.active(service);
        (director.change(service, &verb, caller, &terms)?, timeout, before)
    };
    if terms.dry_run {
        return value(done);
    }
    context.changed.notify_one();
    let deadline = tokio::time::Instant::now() + timeout + Duration::from_millis(300);
    loop {
        tokio::time::sleep(LOOK).await;
        let director = context.director.lock().await;
        let Some(health) = director.version_health(service, &label) else { break };
        let checked = health.iter().all(|(_, condition, _)| *condition != Condition::Unknown);
        if checked || tokio::time::Instant::now() > deadline {
            let explicit = director.service_config(service)?.select == Select::Explicit;
            describe(&mut done, service, &label, &health, (before, director.active(service)), explicit);
            break;
        }
    }
    value(done)
}

/// Says what the first checks found and what came of it.
fn describe(
    done: &mut Done,
    service: &str,
    label: &Label,
    health: &[(std::net::SocketAddr, Condition, String)],
    (before, after): (Option<Label>, Option<Label>),
    explicit: bool,
) {
    let up = health.iter().filter(|(_, condition, _)| *condition == Condition::Up).count();
    if up > 0 {
        done.did.push(format!("{service}: {label} is healthy ({up} of {} up)", health.len()));
    }
    for (address, condition, detail) in health {
        match condition {
            Condition::Up => {}
            Condition::Down => done.warnings.push(format!("{address} is down: {detail}")),
            Condition::Unknown => done.warnings.push(format!("{address} has not answered its first check yet")),
        }
    }
    let shown = after.as_ref().map_or("nothing", Label::as_str);
    if after != before {
        done.did.push(format!("{service}: new sessions get {shown}"));
    } else if up == 0 && !explicit {
        done.warnings.push(format!("{label} has no healthy backend yet: new sessions get {shown}"));
    }
    done.active = after;
}

fn required<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::usage(format!("the request's body: {error}"), "send JSON"))
}

pub(super) fn value<T: serde::Serialize>(value: T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::other(format!("write JSON: {error}"), ""))
}
