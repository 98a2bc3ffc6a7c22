//! A server's processes. Each of its sessions is a child of its own, in a group of its own.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process.
pub(super) fn send(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills a process and its children. It is halted first, so that it does not start more.
pub(super) fn kill_with_children(id: u32) {
    send(id, Signal::STOP);
    for child in children(id) {
        send(child, Signal::KILL);
    }
    send(id, Signal::KILL);
}

fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).collect()
}

/// The fourth field of `/proc/<id>/stat`; the second is in parentheses and may hold anything.
fn parent_of(id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
