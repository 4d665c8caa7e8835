//! When each backend last passed a check.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// By backend, when the last check began that it passed, in milliseconds of the boot clock. Checkers write it, and the director
/// compares it with what the programs noted.
#[derive(Clone, Debug, Default)]
pub struct Passed(Arc<Mutex<BTreeMap<u16, u64>>>);

impl Passed {
    pub fn note(&self, backend: u16, began: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(backend, began);
    }

    /// Whether it passed a check that began no earlier than `time`.
    pub fn since(&self, backend: u16, time: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&backend).is_some_and(|began| *began >= time)
    }
}
