//! `flip --mode exclusive`: hold, wait, switch, release; or back, if the old version does not finish in time.

use std::time::Duration;

use humantime::format_duration;
use tokio::time::Instant;

use super::{
    Context,
    flips::{self, Asked, Wish},
};
use crate::{
    boot::{unix_millis, whole_millis},
    config::{Callout, Hooks},
    daemon::{Director, InTheWay, Whom, unix_now},
    exit::{Code, Failure},
    hooks::{Occasion, Point},
    label::Label,
    model::{Exclusive, Mode, OnTimeout, Opaque, Verb, Way},
    wire::{Done, Flip},
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
/// For how many milliseconds a request counts whose client went away, unless somebody says otherwise.
const ABANDONED: u64 = 5000;
/// Between two looks whether somebody has given the flip up while its hook runs.
const GIVEN_UP: Duration = Duration::from_millis(50);

/// A time for which requests are held, as it was asked for.
pub(super) fn hold(milliseconds: Option<u64>) -> Result<Duration, Failure> {
    let time = milliseconds.map_or(HOLD, Duration::from_millis);
    if time.is_zero() || time > MOST {
        return Err(Failure::usage(
            format!("requests cannot be held for {}", humantime::format_duration(time)),
            "give --max-hold a time up to 10m",
        ));
    }
    Ok(time)
}

pub(super) async fn flip(wish: Wish, asked: Flip) -> Result<Done, Failure> {
    let time = hold(asked.max_hold_milliseconds)?;
    let way = Way {
        until: 0,
        hold_milliseconds: whole_millis(time),
        on_timeout: asked.on_timeout.unwrap_or_default(),
        opaque: asked.opaque.unwrap_or_default(),
        abandon_after_milliseconds: asked.abandon_after_milliseconds.unwrap_or(ABANDONED),
    };
    let label = asked.version;
    let during = {
        let director = wish.context.director.lock().await;
        // Whatever would be refused is refused before anybody waits.
        check_holds(&director, &wish.service, &label)?;
        let during = director.hooks(&wish.service).during;
        if let Some(hook) = during.as_ref().filter(|hook| hook.timeout >= time) {
            return Err(Failure::usage(
                format!(
                    "the hook during may take {}, and requests are held for {} only",
                    format_duration(hook.timeout),
                    format_duration(time)
                ),
                format!("hold longer: --max-hold {}", format_duration((hook.timeout + HOLD).min(MOST))),
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
            done.will.extend(will(way, &label));
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
            format!("wait for its end: balancer status {service}; or give it up: balancer abort {service}"),
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

/// What is not said otherwise.
fn will(way: Way, label: &Label) -> Vec<String> {
    let time = format_duration(Duration::from_millis(way.hold_milliseconds));
    let mut will = vec![match way.on_timeout {
        OnTimeout::Return => format!("if that takes longer than {time}, everything is as before"),
        OnTimeout::Cut => format!("what is still in flight elsewhere than on {label} after {time} is reset"),
    }];
    if way.opaque == Opaque::Close {
        will.push("connections that changed protocols (WebSockets) are reset at once".to_owned());
    }
    will
}

/// Holds, and flips or goes back.
async fn deed(wish: &Wish, label: Label, way: Way, during: Option<Callout>) -> Result<Done, Failure> {
    let Wish { service, verb, terms, caller, context } = wish;
    let (flip, occasion) = {
        let mut director = context.director.lock().await;
        check_holds(&director, service, &label)?;
        let occasion = director.occasion(service, verb, &Done::default(), caller, terms);
        let flip = Exclusive {
            label,
            since: unix_now(),
            who: caller.name.clone(),
            uid: caller.uid,
            reason: terms.reason.clone(),
            force: terms.force,
            way: Way { until: unix_millis() + way.hold_milliseconds, ..way },
            hook: false,
        };
        director.begin_exclusive(service, flip.clone())?;
        (flip, occasion)
    };
    through(wish, &flip, during.as_ref(), occasion).await
}

/// Goes on with flips that the end of the last daemon cut off: their requests are held still. Whoever asked for them is told by the
/// hook `post-flip`, if at all.
pub(super) async fn carry_on(context: Context) {
    let flips = context.director.lock().await.taken_up();
    for (service, flip) in flips {
        let verb = Verb::Flip { label: flip.label.clone(), mode: Mode::Exclusive };
        let (terms, caller, context) = (flip.terms(), flip.actor(), context.clone());
        let wish = Wish { service, verb, terms, caller, context };
        tokio::spawn(async move { go_on(&wish, &flip).await });
    }
}

async fn go_on(wish: &Wish, flip: &Exclusive) {
    let Wish { service, verb, terms, caller, context } = wish;
    let (during, occasion) = {
        let director = context.director.lock().await;
        (director.hooks(service).during, director.occasion(service, verb, &Done::default(), caller, terms))
    };
    if let Err(failure) = through(wish, flip, during.as_ref(), occasion.clone()).await {
        context.director.lock().await.tell_failure(occasion, &failure);
    }
}

/// Waits, flips and releases; or releases, and says why it did not flip.
async fn through(wish: &Wish, flip: &Exclusive, during: Option<&Callout>, occasion: Occasion) -> Result<Done, Failure> {
    let Wish { service, verb, terms, caller, context } = wish;
    let result = finish(wish, flip, during, occasion).await;
    if let Err(Undone { failure, undone }) = &result {
        let mut director = context.director.lock().await;
        if director.goes_on(service, flip) {
            director.end_exclusive(service);
        }
        director.tell_undone(service, &flip.label, failure);
        if *undone {
            // It never came to the change that writes itself down.
            let result = Err(failure.clone());
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

/// For how long the flip is allowed to hold from now on.
fn left(flip: &Exclusive) -> Duration {
    Duration::from_millis(flip.way.until.saturating_sub(unix_millis()))
}

/// Waits for the other versions, runs the hook, and switches.
async fn finish(wish: &Wish, flip: &Exclusive, during: Option<&Callout>, occasion: Occasion) -> Result<Done, Undone> {
    let Wish { service, verb, terms, caller, context } = wish;
    // The hook has all of its time; a flip that is gone on with may have too little left for that.
    let for_hook = during.map_or(Duration::ZERO, |hook| hook.timeout);
    let patience = left(flip).checked_sub(for_hook).ok_or_else(|| {
        Failure::refused(
            format!(
                "the hook during may take {}, and requests would be held for another {} only; everything is as it was, and what was \
                 held goes on",
                format_duration(for_hook),
                format_duration(left(flip))
            ),
            "flip again",
        )
    })?;
    let time = Duration::from_millis(flip.way.hold_milliseconds).saturating_sub(for_hook);
    let cut = wait(wish, flip, patience, time).await?;
    if let Some(hook) = during {
        {
            let mut director = context.director.lock().await;
            check_goes_on(&director, service, flip)?;
            director.runs_hook(service)?;
        }
        let longest = left(flip);
        tokio::select! {
            asked = flips::ask(wish, Point::During, hook, longest, &occasion) => asked.map_err(|why| {
                Failure::refused(
                    format!("the hook during {why}; everything is as it was, and what was held goes on"),
                    "see what it says, and what it has left behind",
                )
            })?,
            // The hook is killed by being dropped.
            failure = given_up(wish, flip) => return Err(failure.into()),
        }
    }
    let mut director = context.director.lock().await;
    check_goes_on(&director, service, flip)?;
    if !director.holds_still(service) {
        return Err(Failure::new(
            Code::TimedOut,
            "the director came too late to make the flip while requests were held; everything is as it was",
            "hold longer with --max-hold; see the log for what has held the director up",
        )
        .into());
    }
    let mut done =
        director.change(service, verb, caller, terms).map_err(|failure| Undone { failure, undone: false })?;
    // The flip has ended the hold in the kernel, but for a version that was the active one already.
    let released = director.end_exclusive(service);
    let began = flip.way.until.saturating_sub(flip.way.hold_milliseconds);
    let held = format_duration(Duration::from_millis(unix_millis().saturating_sub(began)));
    if cut > 0 {
        let connections = if cut == 1 { "1 connection" } else { &format!("{cut} connections") };
        done.did.push(format!("{service}: {connections} of other versions reset"));
    }
    done.did.push(format!("{service}: requests were held for {held}, {released} of them until now"));
    Ok(done)
}

/// Refuses to go on with a flip that somebody gave up.
fn check_goes_on(director: &Director, service: &str, flip: &Exclusive) -> Result<(), Failure> {
    // It may be gone from the config.
    director.service_config(service)?;
    if director.goes_on(service, flip) {
        return Ok(());
    }
    Err(Failure::refused(
        format!(
            "the exclusive flip to `{}` was given up: everything is as it was, and what was held goes on",
            flip.label
        ),
        format!("see who did: balancer history {service}"),
    ))
}

/// Returns when somebody has given the flip up.
async fn given_up(wish: &Wish, flip: &Exclusive) -> Failure {
    loop {
        tokio::time::sleep(GIVEN_UP).await;
        if let Err(failure) = check_goes_on(&*wish.context.director.lock().await, &wish.service, flip) {
            return failure;
        }
    }
}

/// Waits until nobody works on other versions than the new one; how many connections had to be closed for that. `time` is all that it
/// has had when its patience is over.
async fn wait(wish: &Wish, flip: &Exclusive, patience: Duration, time: Duration) -> Result<usize, Failure> {
    let Wish { service, context, .. } = wish;
    let Exclusive { label, way, .. } = flip;
    let deadline = Instant::now() + patience;
    let mut agreeing = 0;
    let mut closed = 0;
    let mut closing = Instant::now();
    loop {
        let mut director = context.director.lock().await;
        check_goes_on(&director, service, flip)?;
        let late = Instant::now() >= deadline;
        let cuts = late && way.on_timeout == OnTimeout::Cut;
        // Whom a client left alone is not waited for any longer where others are cut off.
        let abandoned = if cuts { 0 } else { way.abandon_after_milliseconds };
        let busy = director.in_the_way(service, label, Duration::from_millis(abandoned))?;
        agreeing = if busy.is_empty() { agreeing + 1 } else { 0 };
        if agreeing >= LOOKS {
            return Ok(closed);
        }
        if late && !busy.is_empty() && (!cuts || Instant::now() >= deadline + CUT) {
            return Err(too_late(time, &busy));
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
            format_duration(time),
            busy.join(", ")
        ),
        "hold longer with --max-hold, or give --on-timeout cut; connections that changed protocols (WebSockets) count for as long as \
         they last, unless --opaque close; those whose client went away for --abandon-after",
    )
}
