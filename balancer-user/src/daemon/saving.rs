//! The state on its way to the disk, and what becomes of it if that is full.

use log::{info, warn};

use super::director::Director;
use crate::{exit::Failure, model::State};

impl Director {
    /// Writes a state to disk, once there is anything to write.
    fn write(&mut self, state: &State) -> anyhow::Result<()> {
        if self.saves {
            self.store.save(state)?;
        }
        if self.unsaved.take().is_some() {
            info!("the state is written again");
        }
        Ok(())
    }

    /// The same, before a change: if it cannot be written, nothing is changed.
    pub(super) fn save(&mut self, state: &State) -> Result<(), Failure> {
        self.write(state).map_err(|error| {
            Failure::other(
                format!("the state cannot be written, and nothing changed: {error:#}"),
                format!(
                    "make room in {}, or mend it; what goes back (rollback, abort, resume) is done all the same, and so is what has \
                     --force",
                    self.store.dir().display()
                ),
            )
        })
    }

    /// The same, for what has to be done also if it cannot be written: then that is tried again as time passes.
    pub(super) fn save_or_later(&mut self, state: &State) {
        if let Err(error) = self.write(state) {
            let problem =
                format!("the state cannot be written, and what was changed is lost if the daemon ends: {error:#}");
            if self.unsaved.as_ref() != Some(&problem) {
                warn!("{problem}");
                self.journal.add(None, "state", problem.clone());
            }
            self.unsaved = Some(problem);
        }
    }

    /// One or the other.
    pub(super) fn save_if(&mut self, state: &State, insists: bool) -> Result<(), Failure> {
        if insists {
            self.save_or_later(state);
            return Ok(());
        }
        self.save(state)
    }

    /// Tries again to write what could not be written.
    pub(super) fn save_again(&mut self) -> Result<(), Failure> {
        if self.unsaved.is_some() {
            let state = self.state.clone();
            self.save_or_later(&state);
        }
        Ok(())
    }
}
