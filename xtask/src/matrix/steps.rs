//! What the guest runs.

/// The tables under TC and XDP. The same on the host's core depends on no kernel.
const FIXTURES: &[&str] = &["tc", "xdp"];
/// Stories that touch what kernels differ in: how programs are attached, put into links and detached, maps that outlive the
/// daemon, and packets that grow, merge and are sent twice. Not those with load: an emulated machine is slow, and each start
/// of a daemon costs it ten seconds of verifying.
const STORIES: &[&str] = &[
    "story_2::tc::with_the_demo",
    "story_2::xdp::with_the_demo",
    "learning::tc::the_first_response",
    "learning::xdp::request_heads_in_pieces",
    "daemon::tc::a_restarted_daemon_breaks_and_changes_nothing",
    "detach::tc::through_the_daemon",
    "detach::xdp::without_a_daemon",
];

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
        step("packet fixtures", "fixtures", FIXTURES),
        step("stories end to end", "e2e", STORIES),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_the_place_of_the_chosen_stories() {
        let filters = |filter: &[String]| steps(filter).into_iter().map(|step| step.filter).collect::<Vec<_>>();
        assert_eq!(filters(&[]).concat(), [FIXTURES, STORIES].concat());
        let own = ["story_1".to_owned()];
        assert!(filters(&own).iter().all(|filter| *filter == own));
    }
}
