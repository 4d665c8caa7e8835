//! What the machine's memory takes, which no program can be faster than: reads that wait for each other, as those of a table of tables do.

use std::time::Instant;

use anyhow::{Context, Result};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use rustix::mm::{Advice, madvise};

/// Words of a line of cache.
const LINE: usize = 8;
/// Reads that are timed.
const READS: u32 = 1_000_000;

/// Sizes in MB: what caches hold, the flows of a million connections, the sessions of ten millions.
const SIZES: [usize; 4] = [1, 16, 256, 1024];

/// A sentence about all of them.
pub(super) fn sentence() -> Result<String> {
    let all = SIZES.map(|megabytes| anyhow::Ok(format!("{:.0} ns of {megabytes} MB", read(megabytes)?)));
    let all = all.into_iter().collect::<Result<Vec<_>>>()?.join(", ");
    Ok(format!(
        "a read of memory that waits for the one before it, in pages of 4 KiB as the kernel's tables have them: {all}"
    ))
}

/// Nanoseconds of one read, somewhere in so much memory.
fn read(megabytes: usize) -> Result<f64> {
    let lines = (megabytes << 20) / (LINE * size_of::<u64>());
    let mut memory = vec![0_u64; lines * LINE];
    in_small_pages(&mut memory)?;
    for (line, next) in ring(lines).into_iter().enumerate() {
        memory[line * LINE] = u64::from(next);
    }
    let walk = |from: usize, reads| (0..reads).fold(from, |line, _| memory[line * LINE] as usize);
    let warm = walk(0, READS / 10);
    let start = Instant::now();
    std::hint::black_box(walk(warm, READS));
    Ok(start.elapsed().as_nanos() as f64 / f64::from(READS))
}

/// Has the kernel back it by pages of 4 KiB only.
fn in_small_pages(memory: &mut [u64]) -> Result<()> {
    const PAGE: usize = 4096;
    let bytes = size_of_val(memory);
    let start: *mut u8 = memory.as_mut_ptr().cast();
    let skipped = start.align_offset(PAGE);
    // SAFETY: advice about whole pages of the slice's own memory, which changes no byte of it.
    unsafe { madvise(start.add(skipped).cast(), bytes.saturating_sub(skipped), Advice::LinuxNoHugepage) }
        .context("ask for pages of 4 KiB")
}

/// For each line the one that follows it, in one ring through all, in an order that no prefetcher guesses (Sattolo's algorithm).
fn ring(lines: usize) -> Vec<u32> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut next: Vec<u32> = (0..lines as u32).collect();
    (1..lines).rev().for_each(|index| next.swap(index, random.random_range(0..index)));
    next
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_ring_leads_through_all_lines() {
        let next = super::ring(1000);
        let mut met = [false; 1000];
        let mut at = 0;
        while !std::mem::replace(&mut met[at], true) {
            at = next[at] as usize;
        }
        assert!(at == 0 && met.iter().all(|met| *met));
    }
}
