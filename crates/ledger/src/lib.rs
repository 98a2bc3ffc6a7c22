//! The append-only record and what is signed about it.
//!
//! An entry is JSON in the canonical form of RFC 8785, `{"entry":{…},"seq":N}`: members sorted by name, no white
//! space, numbers that are whole and below 2^53. The sequence number counts from 1 without gaps; it is given by
//! whoever commits the entry, so the rest is serialised beforehand. Nothing secret is ever a field here. A list that makes
//! an entry larger than 64 KiB is kept beside it and named by its digest.
//!
//! A [`Receipt`] says how a task and each of its credentials ended. It is signed as a C2SP [`note`], so that it can be
//! checked offline by anyone who has the broker's public key.
//!
//! The entries are the leaves of a [`merkle`] tree as in RFC 6962. Its head is signed as a [`checkpoint`], and it is
//! handed out as [`tiles`], so that anyone's tools for transparency logs can read it.
//!
//! Whoever holds a copy of a log can have all of it verified ([`audit`]) with nothing but the log's public key.
//! [`witness`]es, who see every checkpoint grow out of the one before, keep a log from showing two histories.
//!
//! This crate opens no file or socket, reads no clock and draws no randomness; private keys stay with the caller.

pub mod audit;
mod canonical;
pub mod checkpoint;
mod entry;
pub mod merkle;
pub mod note;
pub mod receipt;
pub mod tiles;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use entry::{
    Action, Approval, Attached, Attachment, Caller, Decision, Delegator, Draft, Entry, EntryError,
    Facts, Lease, MAX_ATTACHMENT, MAX_ENTRY, Sealed, Task, Trace, VERSION,
};
pub use merkle::{Frontier, Hash, ProofError};
pub use note::{Note, NoteError, Signer, Verifier};
pub use receipt::{Credential, End, How, Receipt, ReceiptError};
pub use tiles::{Tile, TileError};
