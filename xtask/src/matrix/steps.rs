//! What the guest runs.

/// Stories that touch each part which kernels differ in: how programs are attached and replaced, both hooks, maps that
/// outlive the daemon, its socket. A minute of the emulated machine's time; the host runs all of them.
const STORIES: &[&str] = &["flips::", "learning::", "detach::"];

/// One test program, with the tests of it that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) title: &'static str,
    /// The test target's name.
    pub(super) program: &'static str,
    pub(super) filter: Vec<String>,
}

/// All steps; with a `filter` each runs the tests that it names.
pub(super) fn steps(filter: &[String]) -> Vec<Step> {
    let step = |title, program, own: &[&str]| {
        let own = own.iter().map(|name| (*name).to_owned()).collect();
        Step { title, program, filter: if filter.is_empty() { own } else { filter.to_vec() } }
    };
    vec![
        step("programs within their budgets", "budget", &[]),
        step("packet fixtures", "fixtures", &[]),
        step("stories end to end", "e2e", STORIES),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_the_place_of_the_chosen_stories() {
        let filters = |filter: &[String]| steps(filter).into_iter().map(|step| step.filter).collect::<Vec<_>>();
        assert_eq!(filters(&[]).concat(), STORIES);
        let own = ["story_1".to_owned()];
        assert!(filters(&own).iter().all(|filter| *filter == own));
    }
}
