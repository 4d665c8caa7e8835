//! Whatever somebody types for a value is refused with a fix, or is what it says when it is written again.

use std::fmt::{Debug, Display};

use proptest::prelude::*;

use crate::config::rules::{Field, Host, Parameter, Part, Path, Prefix};
use crate::endpoint::{Endpoint, Route};
use crate::label::Label;
use crate::model::pin::Network;

fn typed() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "10.60.1.2",
        "192.0.2.0",
        "2001:db8::",
        "::ffff:192.0.2.1",
        "[",
        "]",
        "::1",
        ":",
        "80",
        "8080",
        "0",
        "65536",
        "/",
        "/24",
        "/128",
        "a",
        "A",
        "shop",
        "example.org",
        ".",
        "..",
        "*",
        "*.",
        "-",
        "_",
        ",",
        "=",
        "route=",
        "weight=",
        "n1",
        "50",
        "%",
        "%2f",
        "?",
        "#",
        "&",
        "+",
        ";",
        "\\",
        " ",
        "\t",
        "\n",
        "\0",
        "é",
        "\u{2003}",
        "X-App",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ]);
    prop_oneof![3 => prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

/// Reads a text, and what comes of that again. A refusal says what is to be written instead.
fn again<T: Debug + Display + PartialEq, E: Display>(text: &str, read: impl Fn(&str) -> Result<T, E>) {
    match read(text) {
        Ok(value) => {
            let written = value.to_string();
            match read(&written) {
                Ok(same) => assert_eq!(value, same, "{text:?} is written {written:?}"),
                Err(why) => panic!("{text:?} is written {written:?}: {why}"),
            }
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

fn owned<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    let read = T::try_from(text.to_owned());
    if let Err(why) = &read {
        assert!(why.contains(": write "), "{why}");
    }
    read
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_is_written(text in typed()) {
        again(&text, owned::<Host>);
        again(&text, owned::<Path>);
        again(&text, owned::<Prefix>);
        again(&text, owned::<Part>);
        again(&text, owned::<Field>);
        again(&text, owned::<Parameter>);
        again(&text, owned::<Route>);
        again(&text, str::parse::<Endpoint>);
        again(&text, str::parse::<Network>);
        again(&text, str::parse::<Label>);
    }

    /// In its place in the file, too: where the error is, is said.
    #[test]
    fn a_file_with_anything_for_a_value_is_read_or_refused(text in typed(), place in 0..6usize) {
        let places = ["\"lab\"", "\"10.60.254.1\"", "\"shop\"", "\"10.60.255.1:80\"", "\"/health\"", "\"10.60.1.2:8080\""];
        let file = super::GOOD.replacen(places[place], &format!("{text:?}"), 1);
        if let Err(error) = super::Config::parse(&file) {
            prop_assert!(!error.what.is_empty() && !error.fix.is_empty(), "{}", error);
        }
    }
}
