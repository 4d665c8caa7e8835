//! The road of a conversation on which it hails: at one place of it, mutants of its packets come in before the next packet does.

use std::cell::RefCell;
use std::ops::AddAssign;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_fuzz::mutate::Random;
use balancer_tests::progrun::talk::Road;
use balancer_tests::progrun::{Counters, Link, Program, Programs};

use super::mutate::mutate;

/// Packets that were put in, by what the programs returned, and how many of them were mutants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Codes {
    pub(crate) mutants: usize,
    pub(crate) pass: u64,
    pub(crate) drop: u64,
    pub(crate) send: u64,
}

impl AddAssign for Codes {
    fn add_assign(&mut self, other: Self) {
        self.mutants += other.mutants;
        self.pass += other.pass;
        self.drop += other.drop;
        self.send += other.send;
    }
}

impl Codes {
    /// What the counters of verdicts say that the programs returned.
    pub(crate) fn counted(after: &Counters, before: &Counters) -> Self {
        let mut codes = Self::default();
        for ((verdict, after), before) in Verdict::ALL.iter().zip(&after.0).zip(&before.0) {
            let count = match verdict.action() {
                Action::Pass | Action::Up => &mut codes.pass,
                Action::Drop => &mut codes.drop,
                Action::Send => &mut codes.send,
            };
            *count += after - before;
        }
        codes
    }
}

/// Where and how much it hails.
pub(crate) struct Hail<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) hook: Program,
    /// Before which packet of the conversation, and how many mutants.
    pub(crate) at: usize,
    pub(crate) mutants: usize,
    pub(crate) state: RefCell<State>,
}

/// What changes with every packet.
pub(crate) struct State {
    pub(crate) random: Random,
    /// The conversation's packets so far, each with the interface that it came in by.
    pub(crate) seen: Vec<(u32, Vec<u8>)>,
    pub(crate) codes: Codes,
    /// What a program did that none may do. The conversation's own error would hide it.
    pub(crate) failure: Option<Error>,
}

impl<'a> Hail<'a> {
    /// From a seed.
    pub(crate) fn new(programs: &'a Programs, hook: Program, at: usize, mutants: usize, seed: u64) -> Self {
        let state = State { random: Random(seed), seen: Vec::new(), codes: Codes::default(), failure: None };
        Self { programs, hook, at, mutants, state: RefCell::new(state) }
    }

    /// What the programs returned.
    pub(crate) fn over(self) -> Result<Codes> {
        let State { codes, failure, .. } = self.state.into_inner();
        failure.map_or(Ok(codes), Err)
    }

    /// As the hook has it: what XDP passes, unchanged, the TC program of the interface sees.
    fn run(&self, interface: u32, frame: &[u8], codes: &mut Codes) -> Result<Vec<u8>> {
        if self.hook == Program::Xdp {
            let answer = self.programs.run(Program::Xdp, interface, frame)?;
            match answer.code {
                1 => codes.drop += 1,
                2 => codes.pass += 1,
                4 => codes.send += 1,
                code => bail!("XDP returned {code}"),
            }
            if answer.code != 2 {
                return Ok(answer.frame);
            }
            ensure!(answer.frame == frame, "XDP changed a packet and passed it");
        }
        let answer = self.programs.run(Program::Tc, interface, frame).with_context(|| format!("{frame:02x?}"))?;
        match answer.code {
            u32::MAX => codes.pass += 1,
            2 => codes.drop += 1,
            7 => codes.send += 1,
            code => bail!("TC returned {code}"),
        }
        ensure!(answer.code != u32::MAX || answer.frame == frame, "TC changed a packet and passed it");
        Ok(answer.frame)
    }
}

impl Road for Hail<'_> {
    fn carry(&self, link: &Link, frame: &[u8]) -> Result<Vec<u8>> {
        let mut state = self.state.borrow_mut();
        ensure!(state.failure.is_none(), "the programs have failed");
        self.storm(link, frame, &mut state).map_err(|error| {
            state.failure = Some(error);
            anyhow!("the programs have failed just now")
        })
    }
}

impl Hail<'_> {
    fn storm(&self, link: &Link, frame: &[u8], state: &mut State) -> Result<Vec<u8>> {
        let State { random, seen, codes, .. } = state;
        seen.push((link.interface, frame.to_vec()));
        if seen.len() == self.at + 1 {
            for _ in 0..self.mutants {
                // The packet that is due, or one that was there already.
                let first = if random.below(2) == 0 { seen.len() - 1 } else { random.below(seen.len()) };
                let (interface, original) = &seen[first];
                let other = &seen[random.below(seen.len())];
                let mutant = mutate(random, original, &other.1);
                let interface = if random.below(16) == 0 { other.0 } else { *interface };
                codes.mutants += 1;
                self.run(interface, &mutant, codes)?;
            }
        }
        self.run(link.interface, frame, codes)
    }
}
