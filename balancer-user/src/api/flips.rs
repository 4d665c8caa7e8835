//! Flips and their kin, with the hooks that are asked and told about them.
//!
//! A hook may take its time, and the director is free meanwhile: the plan is made, the hook asked, and then the change is made as if
//! it were asked for now. It is done to its end by a task of its own, also if whoever asked goes away.

use std::future::Future;

use super::Context;
use crate::{
    audit::Actor,
    config::{Callout, Hooks},
    exit::Failure,
    hooks::{Occasion, Point, environment, run},
    model::Verb,
    wire::{Done, Terms},
};

/// Who is asked before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The hook `pre-flip` may refuse.
    PreFlip,
    /// Nobody: it is a way back, and nothing may be in its way.
    Nobody,
}

/// What is wanted, by whom, and on which terms.
#[derive(Clone)]
pub(super) struct Wish {
    pub(super) service: String,
    pub(super) verb: Verb,
    pub(super) terms: Terms,
    pub(super) caller: Actor,
    pub(super) context: Context,
}

/// Makes a change that hooks are asked and told about.
pub(super) async fn change(wish: Wish, asked: Asked) -> Result<Done, Failure> {
    let Wish { service, verb, terms, caller, context } = wish.clone();
    to_the_end(async move {
        guarded(&wish, asked, Hooks::default(), |_| async move {
            context.director.lock().await.change(&service, &verb, &caller, &terms)
        })
        .await
    })
    .await
}

/// Makes a change to its end, whatever becomes of whoever asked for it.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work).await.map_err(|error| Failure::other(format!("the change broke off: {error}"), ""))?
}

/// Plans, asks, and does; what came of it the hook `post-flip` is told by the director. A dry run ends behind the plan, and says which
/// hooks there are; `own` are those that the deed itself will run.
pub(super) async fn guarded<F>(
    wish: &Wish,
    asked: Asked,
    own: Hooks,
    deed: impl FnOnce(Hooks) -> F,
) -> Result<Done, Failure>
where
    F: Future<Output = Result<Done, Failure>>,
{
    let Wish { service, verb, terms, caller, context } = wish;
    let (mut plan, hooks, occasion) = {
        let mut director = context.director.lock().await;
        let plan = director.change(service, verb, caller, &Terms { dry_run: true, ..terms.clone() })?;
        let all = director.hooks(service);
        let hooks = Hooks {
            pre_flip: all.pre_flip.filter(|_| asked == Asked::PreFlip),
            during: own.during,
            post_flip: all.post_flip,
            event: None,
        };
        let occasion = director.occasion(service, verb, &plan, caller, terms);
        (plan, hooks, occasion)
    };
    let said = said(&hooks);
    if terms.dry_run {
        plan.will.extend(said);
        return Ok(plan);
    }
    if let Some(hook) = &hooks.pre_flip
        && let Err(why) = ask(wish, Point::PreFlip, hook, hook.timeout, &occasion).await
    {
        let failure = Failure::refused(
            format!("the hook pre-flip refuses, nothing changed: it {why}"),
            "see what it says; `balancer events` has it as well. Going back (rollback, abort) asks no hook",
        );
        let director = context.director.lock().await;
        director.write_down(service, verb, caller, terms, director.active(service), &Err(failure.clone()));
        return Err(failure);
    }
    let mut result = deed(hooks).await;
    match &mut result {
        // Whoever did not ask for the plan reads it here.
        Ok(done) => done.will.extend(said),
        // Of what was done the change has told it.
        Err(failure) => context.director.lock().await.tell_failure(occasion, failure),
    }
    result
}

/// Runs a hook; why it does not agree, if it does not.
pub(super) async fn ask(
    wish: &Wish,
    point: Point,
    hook: &Callout,
    longest: std::time::Duration,
    occasion: &Occasion,
) -> Result<(), String> {
    let ended = run(point, hook, longest, occasion, &environment(occasion)).await;
    wish.context.director.lock().await.hook_ended(&wish.service, point, &ended);
    if ended.problem.is_some() { Err(ended.text()) } else { Ok(()) }
}

/// Which hooks will be run, in sentences.
fn said(hooks: &Hooks) -> Vec<String> {
    let what = |key: &str| match key {
        "pre_flip" => "the hook pre-flip is asked first, and may refuse",
        "during" => "the hook during is run while requests are held, and may send everybody back",
        _ => "the hook post-flip is told of what came of it",
    };
    hooks.all().map(|(key, hook)| format!("{}: {hook}", what(key))).collect()
}
