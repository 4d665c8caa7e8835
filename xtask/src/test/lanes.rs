//! Which tests may run beside which others.
//!
//! Each test process has namespaces, pins and labs of its own names, so that two of them do not meet; inside one, tests take
//! turns. Most tests wait most of the time, and so there are two lanes. What a machine that is busy with something else would
//! spoil, or what would spoil others, runs when both lanes are empty.

use std::collections::BTreeMap;

/// Where a test runs. Each of a program's groups is one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Nothing runs beside it.
    Alone,
    /// In whichever lane is free: half of the stories, because each is told under both hooks.
    Xdp,
    /// In whichever lane is free.
    Others,
}

impl Group {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Xdp => "XDP",
            Self::Others => "TC and others",
        }
    }
}

/// Test programs, and what the names of their tests contain that run alone.
const ALONE: &[(&str, &str)] = &[
    // Whose figures, limits or verdicts are about the loaded programs, at full speed.
    ("budget", ""),
    ("floods", ""),
    ("mutants", ""),
    ("share", ""),
    // Floods from one core, and of those who are served meanwhile 999 in a thousand have to be.
    ("clients", "hostile::"),
    // Servers have a time to answer in, and a late answer looks like none.
    ("differential", ""),
    // Two CPUs with one flow: they do not meet if one of them is somebody else's.
    ("fixtures", "two_cpus"),
    // It looks at all namespaces and labs of the machine, and clears away dead ones, as every new lab does.
    ("lab", ""),
];

/// Parts a program's tests. Each test is put into one group, so none is left out and none runs twice.
pub(super) fn split(program: &str, tests: Vec<String>) -> BTreeMap<Group, Vec<String>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for test in tests {
        groups.entry(group(program, &test)).or_default().push(test);
    }
    groups
}

fn group(program: &str, test: &str) -> Group {
    if ALONE.iter().any(|(name, part)| program == *name && test.contains(part)) {
        Group::Alone
    } else if test.contains("xdp") {
        Group::Xdp
    } else {
        Group::Others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_test_is_in_one_group_and_keeps_its_place() {
        let tests = ["flips::tc::a", "flips::xdp::a", "hostile::tc::a", "hostile::xdp::a", "odd", "xdp"];
        let groups = split("clients", tests.map(str::to_owned).into());
        let expected = [
            (Group::Alone, &["hostile::tc::a", "hostile::xdp::a"][..]),
            (Group::Xdp, &["flips::xdp::a", "xdp"]),
            (Group::Others, &["flips::tc::a", "odd"]),
        ];
        assert_eq!(
            groups,
            expected.map(|(group, tests)| (group, tests.iter().map(ToString::to_string).collect())).into()
        );
        assert_eq!(groups.values().map(Vec::len).sum::<usize>(), tests.len());
        assert!(split("clients", Vec::new()).is_empty());
    }

    #[test]
    fn what_measures_runs_alone_under_either_hook() {
        for (program, test, expected) in [
            ("budget", "programs_stay_within_their_budget", Group::Alone),
            ("mutants", "under_xdp", Group::Alone),
            ("differential", "through::no_byte_crosses_a_boundary_under_xdp", Group::Alone),
            ("fixtures", "two_cpus_with_one_flow", Group::Alone),
            ("fixtures", "xdp_over_ipv6", Group::Xdp),
            ("e2e", "hooks::xdp::d10_a_migration_ends_with_its_daemon", Group::Xdp),
            ("e2e", "hostile::tc::another_of_that_name", Group::Others),
            ("lab (bin)", "a_unit_test", Group::Others),
        ] {
            assert_eq!(group(program, test), expected, "{program} {test}");
        }
    }

    /// A program that is renamed would leave its place here unseen.
    #[test]
    fn what_runs_alone_is_there() {
        let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        for (program, _) in ALONE {
            let files = [tests.join(program).join("main.rs"), tests.join(program).with_extension("rs")];
            assert!(files.iter().any(|file| file.is_file()), "{program}");
        }
    }
}
