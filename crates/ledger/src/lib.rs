//! The append-only record and what is signed about it.
//!
//! An entry is JSON in the canonical form of RFC 8785, `{"entry":{…},"seq":N}`: members sorted by name, no white
//! space, numbers that are whole and below 2^53. The sequence number counts from 1 without gaps; it is given by
//! whoever commits the entry, so the rest is serialised beforehand. Nothing secret is ever a field here.
//!
//! A [`Receipt`] says how a task and each of its credentials ended. It is signed as a C2SP [`note`], so that it can be
//! checked offline by anyone who has the broker's public key.
//!
//! This crate opens no file or socket, reads no clock and draws no randomness; private keys stay with the caller.

mod canonical;
mod entry;
pub mod note;
pub mod receipt;

pub use entry::{
    Caller, Decision, Draft, Entry, EntryError, Facts, Lease, MAX_ENTRY, Sealed, Task, VERSION,
};
pub use note::{Note, NoteError, Signer, Verifier};
pub use receipt::{Credential, End, How, Receipt, ReceiptError};
