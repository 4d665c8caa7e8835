//! Programs that do nothing: what a test run costs by itself.

use std::ffi::{c_int, c_long};
use std::io;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use aya::programs::{ProgramInfo, ProgramType, SchedClassifier, Xdp, loaded_programs};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_type};

/// `TC_ACT_UNSPEC`.
const TC_PASS: i32 = -1;
/// `XDP_PASS`.
const XDP_PASS: i32 = 2;

/// A TC program that passes everything on.
pub fn null_tc() -> Result<SchedClassifier> {
    let (_fd, info) = null(bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, ProgramType::SchedClassifier, TC_PASS)?;
    Ok(SchedClassifier::from_program_info(info, "null_tc".into())?)
}

/// An XDP program that passes everything on.
pub fn null_xdp() -> Result<Xdp> {
    let (_fd, info) = null(bpf_prog_type::BPF_PROG_TYPE_XDP, ProgramType::Xdp, XDP_PASS)?;
    Ok(Xdp::from_program_info(info, "null_xdp".into(), aya_obj::programs::XdpAttachType::Interface)?)
}

/// Loads `r0 = code; exit`. aya loads objects only, so this is the bare system call; the program lives as long as the
/// descriptor, or whatever is made of the information.
fn null(kind: bpf_prog_type, wanted: ProgramType, code: i32) -> Result<(OwnedFd, ProgramInfo)> {
    // Two instructions of struct bpf_insn: BPF_ALU64 | BPF_MOV | BPF_K on r0, and BPF_JMP | BPF_EXIT.
    let program: [u64; 2] = [0xb7 | u64::from(code.cast_unsigned()) << 32, 0x95];
    // SAFETY: a union of integers, for which zeroes are a value.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: zeroes are a value of this member, too.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.insn_cnt = program.len() as u32;
    load.insns = program.as_ptr() as u64;
    load.license = c"GPL".as_ptr() as u64;
    // SAFETY: the attributes are of the size that is passed, and what they point to outlives the call.
    let fd: c_long = unsafe {
        libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_PROG_LOAD as c_int, &raw const attr, size_of::<bpf_attr>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("load a program that does nothing: this needs root");
    }
    // SAFETY: the call made the descriptor just now, and nobody else has it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd as c_int) };
    let id = program_id(fd)?;
    let found = loaded_programs().filter_map(Result::ok).find(|info| info.id() == id);
    let info = found.with_context(|| format!("no program {id} of type {wanted:?} in the kernel"))?;
    Ok((owned, info))
}

/// A program's id, as the descriptor's file in /proc has it.
fn program_id(fd: c_long) -> Result<u32> {
    let text =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).context("read the descriptor's information")?;
    let id = text.lines().find_map(|line| line.strip_prefix("prog_id:")).context("no prog_id in it")?;
    id.trim().parse().context("read the program's id")
}
