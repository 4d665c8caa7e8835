//! What the file that xtask shares with the daemon's build script decides, in tables.

use std::path::PathBuf;

use crate::toolchain::{
    Compiler, Missing, Toolchain, choose,
    probe::{linked_llvm, parse_list, parse_release, parse_version},
};

const MINIMUM: (u32, u32) = (1, 95);

/// A toolchain with core's source if it has a compiler.
fn toolchain(name: &str, compiler: Option<(u32, u32)>) -> Toolchain {
    let compiler = compiler.map(|(minor, llvm)| Compiler { release: (1, minor), llvm });
    Toolchain { name: name.to_owned(), root: PathBuf::from("/t").join(name), compiler }
}

#[test]
fn one_toolchain_is_chosen() {
    let bare = || toolchain("stable-x86_64", None);
    let debian = || toolchain("debian-web", Some((96, 22)));
    let nightly = |minor, llvm| toolchain("nightly-x86_64", Some((minor, llvm)));
    let cases = [
        ("nightly first", vec![debian(), nightly(97, 22)], None, Ok("nightly-x86_64")),
        (
            "without the source it cannot",
            vec![bare(), toolchain("nightly-x86_64", None), debian()],
            None,
            Ok("debian-web"),
        ),
        ("of the linker's LLVM", vec![nightly(99, 23), debian()], Some(22), Ok("debian-web")),
        ("older LLVM than the linker's", vec![nightly(95, 21)], Some(22), Ok("nightly-x86_64")),
        ("rather the same LLVM", vec![nightly(95, 21), debian()], Some(22), Ok("debian-web")),
        ("the linker can be replaced", vec![nightly(99, 23)], Some(22), Ok("nightly-x86_64")),
        ("too old a nightly", vec![nightly(80, 19), debian()], None, Ok("debian-web")),
        ("the newest", vec![toolchain("1.95.0", Some((95, 22))), debian()], None, Ok("debian-web")),
        ("nothing", vec![], None, Err(Missing::CoreSource)),
        ("nothing of use", vec![bare()], None, Err(Missing::CoreSource)),
        (
            "only old ones",
            vec![toolchain("debian-web", Some((85, 19)))],
            None,
            Err(Missing::TooOld { newest: (1, 85), minimum: MINIMUM }),
        ),
    ];
    for (what, toolchains, linker, expected) in cases {
        let chosen = choose(toolchains, None, linker, MINIMUM).map(|toolchain| toolchain.name);
        assert_eq!(chosen, expected.map(str::to_owned), "{what}");
    }
}

#[test]
fn a_toolchain_by_name() {
    let all = || {
        vec![
            toolchain("stable-x86_64", None),
            toolchain("nightly-x86_64", Some((97, 22))),
            toolchain("debian-web", Some((96, 22))),
        ]
    };
    for (wanted, expected) in [
        ("debian-web", Ok("debian-web")),
        ("nightly", Ok("nightly-x86_64")),
        ("nightly-x86_64", Ok("nightly-x86_64")),
        ("night", Err(Missing::Named("night".to_owned()))),
        ("stable", Err(Missing::Named("stable".to_owned()))),
    ] {
        let chosen = choose(all(), Some(wanted), None, MINIMUM).map(|toolchain| toolchain.name);
        assert_eq!(chosen, expected.map(str::to_owned), "{wanted}");
    }
}

#[test]
fn rustups_list() {
    let list = "stable-x86_64-unknown-linux-gnu (active, default) /root/.rustup/toolchains/stable\n\
                nightly-x86_64-unknown-linux-gnu\t/home/a b/.rustup/toolchains/nightly\n\
                debian-web /usr\n\
                no installed toolchains\n\n";
    let expected = [
        ("stable-x86_64-unknown-linux-gnu", "/root/.rustup/toolchains/stable"),
        ("nightly-x86_64-unknown-linux-gnu", "/home/a b/.rustup/toolchains/nightly"),
        ("debian-web", "/usr"),
    ];
    assert_eq!(parse_list(list), expected.map(|(name, root)| (name.to_owned(), PathBuf::from(root))));
}

#[test]
fn rustcs_version() {
    let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
    assert_eq!(parse_version(text), Some(Compiler { release: (1, 96), llvm: 22 }));
    assert_eq!(parse_version("release: 1.96.0\n"), None, "built without LLVM");
    for (text, expected) in [
        ("1.97.0-nightly", Some((1, 97))),
        ("1.95", Some((1, 95))),
        ("1.96-beta", Some((1, 96))),
        ("1", None),
        ("", None),
    ] {
        assert_eq!(parse_release(text), expected, "{text}");
    }
}

#[test]
fn the_linkers_llvm() {
    for (program, expected) in [
        (&b"\0libc.so.6\0libLLVM.so.22.1\0LLVM_22.1\0"[..], Some(22)),
        (b"\0libLLVM-17.so.1\0", Some(17)),
        (b"libLLVM.so.23.0-rust-1.99.0-nightly\0", Some(23)),
        (b"libLLVMCore.a\0 libLLVM.so.21.1\0", Some(21)),
        (b"libLLVM.so", None),
        (b"libLLVM", None),
        (b"", None),
    ] {
        assert_eq!(linked_llvm(program), expected, "{}", String::from_utf8_lossy(program));
    }
}
