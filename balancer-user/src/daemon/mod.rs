//! `balancer run`: checks, loads, attaches, then keeps maps, health and the socket until it is told to end.
//!
//! Ending takes nothing out of the kernel. Whatever is checked is checked before the first change, so that a refusal
//! leaves everything as it was.

mod back_off;
mod canary;
mod change;
mod checks;
mod comeback;
mod conditions;
mod counters;
mod director;
mod drains;
mod events;
mod exclusive;
mod full;
mod hooks;
mod measure;
mod origin;
mod pauses;
mod pins;
mod reload;
mod report;
mod saving;
mod setup;
mod sync;
#[cfg(test)]
mod tests;
mod tick;

use std::{path::PathBuf, sync::Arc, time::Duration};

use log::{info, warn};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{Mutex, Notify, mpsc},
    time::MissedTickBehavior,
};

pub(crate) use self::director::unix_now;
pub use self::{
    director::{Director, File},
    exclusive::{InTheWay, Whom},
};
use crate::{
    api,
    audit::Actor,
    config::Config,
    exit::Failure,
    health::{Checkers, Report},
    metrics,
    wire::Terms,
};

/// The director as everything in the daemon shares it.
pub type Shared = Arc<Mutex<Director>>;

/// What `balancer run` was told.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    pub socket: Option<PathBuf>,
    /// Another kernel object than the embedded one.
    pub object: Option<PathBuf>,
}

/// How long the first round of checks may delay the start.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// Runs until a signal or `detach`.
pub async fn run(options: Options) -> Result<(), Failure> {
    // Heard from the beginning: one that comes during the start would end the daemon otherwise.
    let mut hangup = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
    let mut config = Config::load(&options.config)?;
    if let Some(socket) = &options.socket {
        config.socket.clone_from(socket);
    }
    // A reload reads it again, whatever the working directory is then.
    let path = std::path::absolute(&options.config).unwrap_or(options.config);
    let file = File { path, socket: options.socket };
    let interfaces = checks::preflight(&config).await?;
    let store = crate::store::Store::open(&config.state)?;
    let (listener, _socket) = api::socket::bind(&config.socket).await?;
    let metrics = config.metrics.map(metrics::bind).transpose()?;
    let (mut director, loaded) = setup::director(config, store, interfaces, options.object.as_deref())?;

    // Health first: which version is the newest *healthy* one has to be known before anybody is served (C6). Where
    // traffic flows already, the pinned flags say it.
    let (reports, mut incoming) = mpsc::channel(256);
    let mut checkers = Checkers::new(reports, director.passed());
    checkers.sync(&director.targets());
    first_round(&mut director, &mut incoming).await;
    let logs = setup::attach(&mut director, loaded)?;
    let events = director.tell_events();
    director.end_cut_off()?;
    director.announce();

    let (exporter, places) = mpsc::unbounded_channel();
    let _ = exporter.send(metrics);
    director.started_from(file, exporter);
    let keeper = director.keeper();
    let director: Shared = Arc::new(Mutex::new(director));
    let pulse = metrics::Pulse::default();
    pulse.beat();
    tokio::spawn(metrics::serve(places, director.clone(), pulse.clone()));
    tokio::spawn(hooks::tell(events, director.clone()));
    tokio::spawn(hooks::tell_flips(director.clone()));
    let stop = Arc::new(Notify::new());
    let changed = Arc::new(Notify::new());
    let server = tokio::spawn(api::serve(listener, director.clone(), stop.clone(), changed.clone()));
    if let Some(logs) = logs {
        tokio::spawn(setup::flush_logs(logs));
    }
    let snapshots = tokio::spawn(keeper.clone().run());
    // Not running under systemd is no error.
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);

    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut ticks = tokio::time::interval(tick::EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ears = tokio::time::interval(tick::LISTEN);
    ears.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ears.tick() => {
                let mut director = director.lock().await;
                director.listen();
                if let Err(failure) = director.end_pauses() {
                    warn!("cannot end a pause: {failure}");
                }
            }
            _ = ticks.tick() => {
                let mut director = director.lock().await;
                director.tick();
                pulse.beat();
                // A version may have gone.
                checkers.sync(&director.targets());
            }
            Some(report) = incoming.recv() => director.lock().await.take_report(&report),
            () = changed.notified() => checkers.sync(&director.lock().await.targets()),
            () = stop.notified() => {
                info!("detached: ending");
                // The answer to whoever asked is still on its way.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            _ = hangup.recv() => {
                info!("SIGHUP: the config is read again");
                let mut director = director.lock().await;
                match director.reload(&Actor::director("SIGHUP"), &Terms::default()) {
                    Ok(done) => done.warnings.iter().for_each(|warning| warn!("{warning}")),
                    Err(failure) => warn!("{failure}"),
                }
                checkers.sync(&director.targets());
            }
            _ = terminate.recv() => { info!("SIGTERM: ending; the kernel goes on steering"); break; }
            _ = interrupt.recv() => { info!("SIGINT: ending; the kernel goes on steering"); break; }
        }
    }
    server.abort();
    snapshots.abort();
    // In case the next thing that happens is a reboot.
    keeper.take().await.map(drop)
}

/// Waits until every backend was checked once, or long enough.
async fn first_round(director: &mut Director, incoming: &mut mpsc::Receiver<Report>) {
    let deadline = tokio::time::Instant::now() + FIRST_ROUND;
    while director.unchecked() {
        match tokio::time::timeout_at(deadline, incoming.recv()).await {
            // The maps are not there for anybody yet, so only the conditions are noted.
            Ok(Some(report)) => director.note_report(&report),
            Ok(None) | Err(_) => break,
        }
    }
}
