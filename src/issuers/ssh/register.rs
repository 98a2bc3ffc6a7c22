//! The file of the key revocation list. It is the state; what is put on it counts once it was read back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use quietus_core::{LeaseId, Timestamp};

use super::super::Failure;
use super::super::durable::{self, lock, off_thread};
use super::krl::Krl;

/// Largest file that is read.
const MAX_FILE: usize = 64 * 1024 * 1024;

/// A key revocation list in a file.
pub(super) struct Register {
    ca: Vec<u8>,
    path: PathBuf,
    /// What is to be listed, so that those who wait for the file write once for all.
    wanted: Mutex<BTreeMap<LeaseId, Timestamp>>,
    listed: Mutex<Krl>,
}

impl Register {
    /// Reads the file if there is one; one that is not a list of this CA is left alone.
    pub(super) fn open(ca: Vec<u8>, path: PathBuf) -> Result<Self, String> {
        let list = match durable::read_if_there(&path, MAX_FILE)? {
            None => Krl::default(),
            Some(file) => Krl::read(&file, &ca).map_err(|error| {
                let path = path.display();
                format!("{path}: {error}: restore it, or move it away if nothing on it matters")
            })?,
        };
        Ok(Self {
            ca,
            path,
            wanted: Mutex::default(),
            listed: Mutex::new(list),
        })
    }

    /// Puts a lease on the list until `end`, and reads it there.
    pub(super) async fn revoke(
        self: &Arc<Self>,
        id: LeaseId,
        end: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        lock(&self.wanted).entry(id).or_insert(end);
        off_thread(self, move |this| this.put(id, now)).await
    }

    /// Writes the list anew if it is absent, was changed by others, or holds what has expired.
    pub(super) async fn keep(self: &Arc<Self>, now: Timestamp) -> Result<(), Failure> {
        off_thread(self, move |this| this.refresh(now)).await
    }

    /// That the list was written, without which no certificate is handed out: hosts refuse everyone if it is absent.
    pub(super) async fn ready(self: &Arc<Self>, now: Timestamp) -> Result<(), Failure> {
        match lock(&self.listed).version {
            0 => {}
            _ => return Ok(()),
        }
        self.keep(now).await
    }

    /// What the file on the disk says now, in words.
    pub(super) async fn describe(self: &Arc<Self>) -> Result<String, Failure> {
        off_thread(self, |this| {
            let list = this
                .on_disk()?
                .ok_or("the key revocation list is not written yet")?;
            let (version, entries) = (list.version, list.entries.len());
            Ok(format!(
                "key revocation list {version} with {entries} entries"
            ))
        })
        .await
    }

    fn put(&self, id: LeaseId, now: Timestamp) -> Result<(), String> {
        let mut listed = lock(&self.listed);
        let on_disk = self.on_disk().ok().flatten();
        let is_there = on_disk.is_some_and(|list| list.entries.contains_key(&id));
        if is_there && listed.entries.contains_key(&id) {
            lock(&self.wanted).remove(&id);
            return Ok(());
        }
        self.write(&mut listed, now)?;
        match listed.entries.contains_key(&id) {
            true => Ok(()),
            // Someone else wrote it, and it has expired since.
            false => Err("the key revocation list no longer has it: trying again".to_owned()),
        }
    }

    fn refresh(&self, now: Timestamp) -> Result<(), String> {
        let mut listed = lock(&self.listed);
        let mut next = listed.clone();
        next.drop_expired(now);
        let on_disk = self.on_disk().ok().flatten();
        let same = next == *listed && lock(&self.wanted).is_empty();
        match on_disk.is_some_and(|on_disk| on_disk == next) && same {
            true => Ok(()),
            false => self.write(&mut listed, now),
        }
    }

    /// Adds what is wanted, writes, reads back and compares.
    fn write(&self, listed: &mut Krl, now: Timestamp) -> Result<(), String> {
        let wanted = lock(&self.wanted).clone();
        let mut list = listed.clone();
        list.drop_expired(now);
        list.entries
            .extend(wanted.iter().map(|(id, end)| (*id, *end)));
        for end in list.entries.values_mut() {
            *end = Timestamp::from_seconds(end.seconds());
        }
        let file = list.write(&self.ca, now);
        if file.len() > MAX_FILE {
            return Err("the key revocation list is too large to be read back".to_owned());
        }
        durable::replace(&self.path, &file)?;
        let read = self.on_disk()?.ok_or("the key revocation list is gone")?;
        if read != list {
            return Err("the key revocation list does not read back as written".to_owned());
        }
        *listed = list;
        lock(&self.wanted).retain(|id, _| !wanted.contains_key(id));
        Ok(())
    }

    fn on_disk(&self) -> Result<Option<Krl>, String> {
        let file = durable::read_if_there(&self.path, MAX_FILE)?;
        let read = file.map(|file| Krl::read(&file, &self.ca)).transpose();
        read.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}
