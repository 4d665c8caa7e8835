//! What a test program prints, read: how far it is, and what failed.

/// The names in `--list --format terse`.
pub(super) fn listed(list: &str) -> Vec<String> {
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// The tests that have begun, the last of which may still run. What children print may stand behind a name, before its result.
pub(super) fn begun(log: &str) -> Vec<&str> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("test "));
    lines.filter_map(|line| line.split_once(" ... ")).map(|(name, _)| name).collect()
}

/// The tests that failed: the list at the end, behind what they printed.
pub(super) fn failed(log: &str) -> Vec<&str> {
    let Some((_, list)) = log.rsplit_once("\nfailures:\n") else { return Vec::new() };
    list.lines().map_while(|line| line.strip_prefix("    ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\nrunning 3 tests\ntest a::b ... ok\ntest c ... a child's word\nFAILED\ntest d ... FAILED\n\nfailures:\n\n\
        ---- c stdout ----\nError: no\n    in detail\n\n---- d stdout ----\nno\n\n\nfailures:\n    c\n    d\n\n\
        test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";

    #[test]
    fn names_are_what_is_listed_as_a_test() {
        assert_eq!(listed("a::b: test\nc: test\nd: benchmark\n"), ["a::b", "c"]);
        assert!(listed("").is_empty());
    }

    #[test]
    fn a_test_begins_with_its_name_whatever_follows() {
        assert_eq!(begun(LOG), ["a::b", "c", "d"]);
        assert_eq!(begun("\nrunning 2 tests\ntest a ... ok\ntest b ... "), ["a", "b"]);
        assert!(begun("").is_empty());
    }

    #[test]
    fn failures_are_those_of_the_last_list() {
        assert_eq!(failed(LOG), ["c", "d"]);
        assert!(failed("test a ... ok\n\ntest result: ok. 1 passed\n").is_empty());
    }
}
