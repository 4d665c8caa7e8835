//! `flip --mode exclusive`: hold, wait, switch, release; or back, if the old version does not finish in time.

use std::time::Duration;

use serde_json::Value;

use super::{Context, verbs::value};
use crate::{
    audit::Actor,
    exit::{Code, Failure},
    label::Label,
    model::{Mode, Verb},
    wire::{Done, Terms},
};

/// Between two looks at what is in flight.
const LOOK: Duration = Duration::from_millis(5);
/// Looks that must agree: counts of two CPUs can cancel out for an instant.
const LOOKS: u32 = 2;
/// For how long requests are held, unless somebody says otherwise; and at most: clients give up some time.
const HOLD: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_secs(600);

pub(super) async fn flip(
    service: &str,
    label: Label,
    max_hold: Option<u64>,
    terms: &Terms,
    caller: &Actor,
    context: &Context,
) -> Result<Value, Failure> {
    let time = max_hold.map_or(HOLD, Duration::from_millis);
    if time.is_zero() || time > MOST {
        return Err(Failure::usage("the longest hold is out of range", "give --max-hold a time up to 10m"));
    }
    let verb = Verb::Flip { label: label.clone(), mode: Mode::Exclusive };
    // Whatever would be refused is refused before anybody waits.
    let plan = {
        let mut director = context.director.lock().await;
        if director.holds(service) {
            return Err(Failure::refused(
                format!("an exclusive flip of `{service}` is under way"),
                format!("wait for its end: balancer status {service}"),
            ));
        }
        let plan = director.change(service, &verb, caller, &Terms { dry_run: true, ..terms.clone() })?;
        if !terms.dry_run {
            director.hold(service, time)?;
        }
        plan
    };
    if terms.dry_run {
        return value(plan);
    }
    match finish(service, &label, time, &verb, terms, caller, context).await {
        Ok(done) => value(done),
        Err(failure) => {
            let mut director = context.director.lock().await;
            director.release(service)?;
            if failure.code == Code::TimedOut {
                // It never came to the change that writes itself down.
                director.write_down(service, &verb, caller, terms, director.active(service), &Err(failure.clone()));
            }
            Err(failure)
        }
    }
}

/// Waits for the other versions and switches.
async fn finish(
    service: &str,
    label: &Label,
    time: Duration,
    verb: &Verb,
    terms: &Terms,
    caller: &Actor,
    context: &Context,
) -> Result<Done, Failure> {
    let began = tokio::time::Instant::now();
    let mut agreeing = 0;
    loop {
        let mut director = context.director.lock().await;
        let busy = director.in_flight_elsewhere(service, label)?;
        agreeing = if busy.is_empty() { agreeing + 1 } else { 0 };
        if began.elapsed() >= time {
            let busy: Vec<String> = busy.iter().map(|(label, count)| format!("{count} on {label}")).collect();
            return Err(Failure::new(
                Code::TimedOut,
                format!(
                    "requests of other versions did not end within {}: {}; everything is as it was, and what was held goes on",
                    humantime::format_duration(time),
                    busy.join(", ")
                ),
                "hold longer with --max-hold; connections that changed protocols (WebSockets) count for as long as they last",
            ));
        }
        if agreeing >= LOOKS {
            director.stop_holding(service);
            let mut done = director.change(service, verb, caller, terms)?;
            // The flip has ended the hold in the kernel, but for a version that was the active one already.
            let released = director.release(service)?;
            let held = humantime::format_duration(Duration::from_millis(
                u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            ));
            done.did.push(format!("{service}: requests were held for {held}, {released} of them until now"));
            return Ok(done);
        }
        drop(director);
        tokio::time::sleep(LOOK).await;
    }
}
