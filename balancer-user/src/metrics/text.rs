//! The text format that Prometheus reads, version 0.0.4: each family once, with its help and its type, then its samples.

use std::fmt::Write as _;

/// The content type of a page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises, but for a new beginning.
    Counter,
    Gauge,
}

/// A metric and its samples.
#[derive(Clone, Debug)]
pub(super) struct Family {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Family {
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        debug_assert!(name.ends_with("_total"), "{name}");
        Self { name, kind: Kind::Counter, help, samples: Vec::new() }
    }

    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, help, samples: Vec::new() }
    }

    /// Adds a sample.
    pub(super) fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.samples.push((labels, value));
    }

    /// The same with one sample that has no labels.
    pub(super) fn of(mut self, value: f64) -> Self {
        self.add(&[], value);
        self
    }
}

/// Writes families down, in their order; those without a sample are left out.
pub(super) fn write(families: &[Family]) -> String {
    let mut text = String::new();
    for Family { name, kind, help, samples } in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", escape_help(help));
        for (labels, value) in samples {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape_label(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {}", number(*value));
        }
    }
    text
}

/// In a help text a backslash and the end of a line are escaped.
fn escape_help(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// In a label's value the quotation mark is, too.
fn escape_label(text: &str) -> String {
    escape_help(text).replace('"', "\\\"")
}

/// As Go's `ParseFloat` takes it; whole numbers without a point.
fn number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_and_type_stand_once_before_the_samples() {
        let mut one = Family::counter("a_total", "How many \\ there\nwere.");
        one.add(&[("service", "shop"), ("version", "001")], 3.0);
        one.add(&[("service", "blog"), ("version", "x\"\\\ny")], 0.25);
        let none = Family::gauge("nothing", "Has no sample.");
        let two = Family::gauge("b", "Is one.").of(-1.0);
        assert_eq!(
            write(&[one, none, two]),
            "# HELP a_total How many \\\\ there\\nwere.\n\
             # TYPE a_total counter\n\
             a_total{service=\"shop\",version=\"001\"} 3\n\
             a_total{service=\"blog\",version=\"x\\\"\\\\\\ny\"} 0.25\n\
             # HELP b Is one.\n\
             # TYPE b gauge\n\
             b -1\n"
        );
    }

    #[test]
    fn numbers() {
        for (value, expected) in [
            (0.0, "0"),
            (1e15, "1000000000000000"),
            (0.5, "0.5"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
