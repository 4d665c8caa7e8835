//! One direction of a relay: a thread that receives at one port and sends at the other.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::fate::{Fate, Fates, Link};
use super::frame::{Frame, Refusal};
use super::port::Port;
use super::queue::Queue;
use super::{Shared, Totals};

/// Frames that are received before those are looked at that are due.
const BATCH: usize = 64;
/// How long the thread sleeps at most, so that it notices its end.
const NAP: Duration = Duration::from_millis(50);

pub(super) struct Direction {
    pub(super) from: Arc<Port>,
    pub(super) to: Arc<Port>,
    /// 0 or 1.
    pub(super) number: u64,
    /// Who refuses what is too big.
    pub(super) router: Ipv4Addr,
    pub(super) shared: Arc<Shared>,
}

impl Direction {
    /// Works until the relay ends.
    pub(super) fn work(&self) -> Result<()> {
        let mut link = self.shared.link();
        let mut fates = Fates::new(link.1, self.number);
        let mut queue = Queue::default();
        let mut buffer = Vec::new();
        while !self.shared.over.load(Relaxed) {
            self.wait(queue.next())?;
            if self.shared.version.load(Relaxed) != link.0 {
                link = self.shared.link();
                fates = Fates::new(link.1, self.number);
            }
            for _ in 0..BATCH {
                let Some(frame) = self.from.receive(&mut buffer)? else { break };
                self.take(frame, &link.1, &mut fates, &mut queue);
            }
            let now = Instant::now();
            while let Some(frame) = queue.pop(now) {
                self.send(&self.to, &frame);
            }
        }
        Ok(())
    }

    fn wait(&self, next: Option<Instant>) -> Result<()> {
        let left = next.map_or(NAP, |next| next.saturating_duration_since(Instant::now()).min(NAP));
        let left = Timespec::try_from(left).context("a short time")?;
        match poll(&mut [PollFd::new(&self.from, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("wait for frames"),
        }
    }

    fn take(&self, frame: Frame, link: &Link, fates: &mut Fates, queue: &mut Queue) {
        let totals = &self.shared.totals;
        let now = Instant::now();
        if frame.family().is_none() {
            queue.push(now, frame);
            return;
        }
        if let Some(refusal) = link.mtu.and_then(|mtu| frame.too_big(mtu, self.router)) {
            totals.too_big.fetch_add(1, Relaxed);
            if let Refusal::Answer(answer) = refusal {
                self.send(&self.from, &answer);
            }
            return;
        }
        let (runs, lost) = frame.part(fates);
        totals.lost.fetch_add(lost as u64, Relaxed);
        for (mut run, fate) in runs {
            let Fate::Arrives { after, twice, damage } = fate else { continue };
            let count = run.segments() as u64;
            if let Some(bit) = damage {
                run.damage(bit);
                totals.damaged.fetch_add(1, Relaxed);
            }
            totals.held.fetch_add(if after > link.delay { count } else { 0 }, Relaxed);
            if twice {
                totals.doubled.fetch_add(count, Relaxed);
                queue.push(now + after, run.clone());
            }
            queue.push(now + after, run);
        }
    }

    fn send(&self, port: &Port, frame: &Frame) {
        let Totals { forwarded, refused, .. } = &self.shared.totals;
        if port.send(frame) {
            forwarded.fetch_add(frame.segments() as u64, Relaxed);
        } else {
            refused.fetch_add(1, Relaxed);
        }
    }
}
