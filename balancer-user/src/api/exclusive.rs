//! `flip --mode exclusive`: hold, wait, switch, release; or back, if the old version does not finish in time.

use std::time::Duration;

use tokio::time::Instant;

use super::flips::{self, Asked, Wish};
use crate::{
    boot,
    config::{Callout, Hooks},
    daemon::{Director, InTheWay, Whom},
    exit::{Code, Failure},
    hooks::{Occasion, Point},
    label::Label,
    wire::{Done, Flip, OnTimeout, Opaque},
};

/// Between two looks at what is in flight.
const LOOK: Duration = Duration::from_millis(5);
/// Between two looks for connections that are to be closed: each reads all of them.
const CLOSE: Duration = Duration::from_millis(200);
/// Looks that must agree: counts of two CPUs can cancel out for an instant.
const LOOKS: u32 = 2;
/// For so long after its time what was cut off may still be counted.
const CUT: Duration = Duration::from_secs(1);
/// For how long requests are held, unless somebody says otherwise; and at most: clients give up some time.
const HOLD: Duration = Duration::from_secs(30);
const MOST: Duration = Duration::from_secs(600);
/// For how long a request counts whose client went away, unless somebody says otherwise.
const ABANDONED: Duration = Duration::from_secs(5);

/// How to go about it.
#[derive(Clone, Copy, Debug)]
struct Way {
    time: Duration,
    on_timeout: OnTimeout,
    opaque: Opaque,
    abandoned: Duration,
}

/// A time for which requests are held, as it was asked for.
pub(super) fn hold(milliseconds: Option<u64>) -> Result<Duration, Failure> {
    let time = milliseconds.map_or(HOLD, Duration::from_millis);
    if time.is_zero() || time > MOST {
        return Err(Failure::usage("the longest hold is out of range", "give --max-hold a time up to 10m"));
    }
    Ok(time)
}

pub(super) async fn flip(wish: Wish, asked: Flip) -> Result<Done, Failure> {
    let way = Way {
        time: hold(asked.max_hold_milliseconds)?,
        on_timeout: asked.on_timeout.unwrap_or_default(),
        opaque: asked.opaque.unwrap_or_default(),
        abandoned: asked.abandon_after_milliseconds.map_or(ABANDONED, Duration::from_millis),
    };
    let label = asked.version;
    let during = {
        let director = wish.context.director.lock().await;
        // Whatever would be refused is refused before anybody waits.
        check_holds(&director, &wish.service, &label)?;
        let during = director.hooks(&wish.service).during;
        if let Some(hook) = during.as_ref().filter(|hook| hook.timeout >= way.time) {
            let time = |time| humantime::format_duration(time);
            return Err(Failure::usage(
                format!(
                    "the hook during may take {}, and requests are held for {} only",
                    time(hook.timeout),
                    time(way.time)
                ),
                format!("hold longer: --max-hold {}", time(hook.timeout + HOLD)),
            ));
        }
        during
    };
    let dry_run = wish.terms.dry_run;
    let own = Hooks { during, ..Hooks::default() };
    flips::to_the_end(async move {
        let to = label.clone();
        let mut done = flips::guarded(&wish, Asked::PreFlip, own, |hooks| deed(&wish, to, way, hooks.during)).await?;
        if dry_run {
            done.will.extend(way.will(&label));
        }
        Ok(done)
    })
    .await
}

/// Refuses a second hold.
fn check_holds(director: &Director, service: &str, label: &Label) -> Result<(), Failure> {
    if director.holds(service) {
        return Err(Failure::refused(
            format!("an exclusive flip of `{service}` is under way"),
            format!("wait for its end: balancer status {service}"),
        ));
    }
    if director.paused(service) {
        return Err(Failure::refused(
            format!("`{service}` is paused, and an exclusive flip holds its requests itself"),
            format!(
                "balancer resume {service} first; or, once nobody works on the old version (balancer wait {service} --for \
                 idle=VERSION): balancer flip {service} {label} --mode forced, then balancer resume {service}"
            ),
        ));
    }
    Ok(())
}

impl Way {
    /// What is not said otherwise.
    fn will(self, label: &Label) -> Vec<String> {
        let time = humantime::format_duration(self.time);
        let mut will = vec![match self.on_timeout {
            OnTimeout::Return => format!("if that takes longer than {time}, everything is as before"),
            OnTimeout::Cut => format!("what is still in flight elsewhere than on {label} after {time} is reset"),
        }];
        if self.opaque == Opaque::Close {
            will.push("connections that changed protocols (WebSockets) are reset at once".to_owned());
        }
        will
    }
}

/// Holds, and flips or goes back.
async fn deed(wish: &Wish, label: Label, way: Way, during: Option<Callout>) -> Result<Done, Failure> {
    let Wish { service, verb, terms, caller, context } = wish;
    let occasion = {
        let mut director = context.director.lock().await;
        check_holds(&director, service, &label)?;
        let plan = Done::default();
        let occasion = director.occasion(service, verb, &plan, caller, terms);
        director.begin_exclusive(service, &label, caller)?;
        director.hold(service, way.time)?;
        occasion
    };
    let result = finish(wish, &label, way, during.as_ref(), occasion).await;
    if let Err(failure) = &result {
        let mut director = context.director.lock().await;
        director.end_exclusive(service)?;
        director.release(service)?;
        if failure.undone {
            // It never came to the change that writes itself down.
            let result = Err(failure.failure.clone());
            director.write_down(service, verb, caller, terms, director.active(service), &result);
        }
    }
    result.map_err(|undone| undone.failure)
}

/// Why there was no flip.
struct Undone {
    failure: Failure,
    /// It did not come to the change.
    undone: bool,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self { failure, undone: true }
    }
}

/// Waits for the other versions, runs the hook, and switches.
async fn finish(
    wish: &Wish,
    label: &Label,
    way: Way,
    during: Option<&Callout>,
    occasion: Occasion,
) -> Result<Done, Undone> {
    let Wish { service, verb, terms, caller, context } = wish;
    let began = Instant::now();
    // The hook has all of its time.
    let patience = way.time - during.map_or(Duration::ZERO, |hook| hook.timeout);
    let cut = wait(wish, label, way, patience).await?;
    if let Some(hook) = during {
        context.director.lock().await.runs_hook(service)?;
        let longest = (began + way.time).saturating_duration_since(Instant::now());
        if let Err(why) = flips::ask(wish, Point::During, hook, longest, &occasion).await {
            return Err(Failure::refused(
                format!("the hook during {why}; everything is as it was, and what was held goes on"),
                "see what it says, and what it has left behind",
            )
            .into());
        }
    }
    let mut director = context.director.lock().await;
    director.stop_holding(service);
    let mut done = match director.change(service, verb, caller, terms) {
        Ok(done) => done,
        Err(failure) => return Err(Undone { failure, undone: false }),
    };
    // The flip has ended the hold in the kernel, but for a version that was the active one already.
    let released = director.release(service)?;
    let held = humantime::format_duration(Duration::from_millis(boot::whole_millis(began.elapsed())));
    if cut > 0 {
        done.did.push(format!("{service}: {cut} connections of other versions were reset"));
    }
    done.did.push(format!("{service}: requests were held for {held}, {released} of them until now"));
    Ok(done)
}

/// Waits until nobody works on other versions than `label`; how many connections had to be closed for that.
async fn wait(wish: &Wish, label: &Label, way: Way, patience: Duration) -> Result<usize, Failure> {
    let Wish { service, context, .. } = wish;
    let deadline = Instant::now() + patience;
    let mut agreeing = 0;
    let mut closed = 0;
    let mut closing = Instant::now();
    loop {
        let mut director = context.director.lock().await;
        let late = Instant::now() >= deadline;
        let cuts = late && way.on_timeout == OnTimeout::Cut;
        // Whom a client left alone is not waited for any longer where others are cut off.
        let abandoned = if cuts { Duration::ZERO } else { way.abandoned };
        let busy = director.in_the_way(service, label, abandoned)?;
        agreeing = if busy.is_empty() { agreeing + 1 } else { 0 };
        if agreeing >= LOOKS {
            return Ok(closed);
        }
        if late && (!cuts || Instant::now() >= deadline + CUT) {
            return Err(too_late(patience, &busy));
        }
        let whom = match way.opaque {
            _ if cuts => Some(Whom::Busy),
            Opaque::Close => Some(Whom::Opaque),
            Opaque::Wait => None,
        };
        if let Some(whom) = whom.filter(|_| !busy.is_empty() && Instant::now() >= closing) {
            closed += director.close_elsewhere(service, label, whom)?;
            closing = Instant::now() + CLOSE;
        }
        drop(director);
        tokio::time::sleep(LOOK).await;
    }
}

fn too_late(time: Duration, busy: &[InTheWay]) -> Failure {
    let busy: Vec<String> = busy.iter().map(ToString::to_string).collect();
    Failure::new(
        Code::TimedOut,
        format!(
            "requests of other versions did not end within {}: {}; everything is as it was, and what was held goes on",
            humantime::format_duration(time),
            busy.join(", ")
        ),
        "hold longer with --max-hold, or give --on-timeout cut; connections that changed protocols (WebSockets) count for as long as \
         they last, unless --opaque close; those whose client went away for --abandon-after",
    )
}
