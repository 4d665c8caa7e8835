//! The splice, packet by packet, under both hooks; each test is a story.

mod books;
mod chunked;
mod damage;
mod ends;
mod flows;
mod full;
mod heads;
mod held;
mod legs;
mod long;
mod opening;
mod outcomes;
mod pinned;
mod pipelined;
mod pool;
mod race;
mod renewed;
mod rig;
mod seek;
mod services;
mod sessions;
mod short;
mod six;
mod storm;
mod too_big;
mod unframed;
mod uploads;

use crate::http::{Chunk, Scan};
use crate::layout::Buffer;
use crate::work::Work;

/// Scratch memory.
fn work() -> Box<Work> {
    Box::new(Work {
        clock: crate::work::Clock::default(),
        known: Default::default(),
        secret: Default::default(),
        segment: Default::default(),
        key: Default::default(),
        aside: Default::default(),
        errand: Default::default(),
        options: Default::default(),
        draft: Default::default(),
        farewell: Default::default(),
        farewell_egress: Default::default(),
        crafted: Default::default(),
        sum: Default::default(),
        scan: Scan::new(),
        chunk: Chunk::default(),
        stretch: Default::default(),
        quote: Default::default(),
        base: Default::default(),
        egress: Default::default(),
        shelf: Default::default(),
        extent: Default::default(),
        accepted: 0,
        room: 0,
        lookup: Default::default(),
        rules: Default::default(),
        event: Default::default(),
        choice: Default::default(),
        word: 0,
        same: 0,
        search: Default::default(),
        emission: Default::default(),
        buffer: Buffer::new(),
    })
}
