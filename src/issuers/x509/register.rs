//! The file of the revocation list, and the command that tells the target of it.
//!
//! The file is the state. What is put on it counts only once it was read back from the disk and verified.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quietus_core::Timestamp;

use super::super::Failure;
use super::super::durable::{self, lock, off_thread};
use super::authority::Authority;
use super::list::{Entry, List, MAX_FILE};
use super::names::Serial;

/// A revocation list in a file.
pub(super) struct Register {
    authority: Arc<Authority>,
    path: PathBuf,
    lifetime: Duration,
    command: Vec<String>,
    /// How long the command may take.
    patience: Duration,
    /// What is to be listed, so that those who wait for the file write once for all.
    wanted: Mutex<BTreeMap<Serial, Entry>>,
    listed: Mutex<Listed>,
    /// The generation that the target was told of.
    told: tokio::sync::Mutex<u64>,
}

struct Listed {
    list: List,
    /// Grows whenever the file changes.
    generation: u64,
}

impl Register {
    /// Reads the file if there is one; one that is not a list of this authority is left alone.
    pub(super) fn open(
        authority: Arc<Authority>,
        path: PathBuf,
        lifetime: Duration,
        command: Vec<String>,
        patience: Duration,
    ) -> Result<Self, String> {
        let list = match durable::read_if_there(&path, MAX_FILE)? {
            None => List::default(),
            Some(file) => List::read(&file, &authority).map_err(|error| {
                let path = path.display();
                format!("{path}: {error}: restore it, or move it away if nothing on it matters")
            })?,
        };
        Ok(Self {
            authority,
            path,
            lifetime,
            command,
            patience,
            wanted: Mutex::default(),
            listed: Mutex::new(Listed {
                list,
                generation: 1,
            }),
            told: tokio::sync::Mutex::new(0),
        })
    }

    /// Puts a serial number on the list, reads it there, and tells the target.
    pub(super) async fn revoke(
        self: &Arc<Self>,
        serial: Serial,
        entry: Entry,
        now: Timestamp,
    ) -> Result<(), Failure> {
        lock(&self.wanted).entry(serial).or_insert(entry);
        off_thread(self, move |this| this.put(serial, now)).await?;
        self.tell().await
    }

    /// Writes the list anew if it is absent, was changed by others, or has passed half of its life.
    pub(super) async fn keep(self: &Arc<Self>, now: Timestamp) -> Result<(), Failure> {
        off_thread(self, move |this| this.refresh(now)).await?;
        self.tell().await
    }

    /// That there is a list which is good now, without which no certificate is handed out.
    pub(super) async fn ready(self: &Arc<Self>, now: Timestamp) -> Result<(), Failure> {
        let next_update = lock(&self.listed).list.next_update;
        match now < next_update {
            true => Ok(()),
            false => self.keep(now).await,
        }
    }

    /// What the file on the disk says now, in words.
    pub(super) async fn describe(self: &Arc<Self>, now: Timestamp) -> Result<String, Failure> {
        off_thread(self, move |this| {
            let list = this
                .on_disk()?
                .ok_or("the revocation list is not written yet")?;
            if list.next_update <= now {
                return Err("the revocation list has run out".to_owned());
            }
            let (number, entries) = (list.number, list.entries.len());
            Ok(format!("revocation list {number} with {entries} entries"))
        })
        .await
    }

    fn put(&self, serial: Serial, now: Timestamp) -> Result<(), String> {
        let mut listed = lock(&self.listed);
        if listed.list.entries.contains_key(&serial) && self.has_on_disk(serial) {
            lock(&self.wanted).remove(&serial);
            return Ok(());
        }
        self.write(&mut listed, now)?;
        match listed.list.entries.contains_key(&serial) {
            true => Ok(()),
            // Someone else wrote it, and it has expired since.
            false => Err("the revocation list no longer has it: trying again".to_owned()),
        }
    }

    fn refresh(&self, now: Timestamp) -> Result<(), String> {
        let mut listed = lock(&self.listed);
        let half = Timestamp::from_seconds(now.after(self.lifetime / 2).seconds());
        let due = listed.list.next_update <= half || !lock(&self.wanted).is_empty();
        let number = self.on_disk().ok().flatten().map(|list| list.number);
        match !due && number == Some(listed.list.number) {
            true => Ok(()),
            false => self.write(&mut listed, now),
        }
    }

    /// Adds what is wanted, signs, writes, reads back and compares.
    fn write(&self, listed: &mut Listed, now: Timestamp) -> Result<(), String> {
        let wanted = lock(&self.wanted).clone();
        let mut list = listed.list.clone();
        list.drop_expired(now);
        list.entries
            .extend(wanted.iter().map(|(serial, entry)| (*serial, *entry)));
        let file = list.sign(&self.authority, now, self.lifetime)?;
        // Counted before: should the writing fail half-way, the target is told once too often.
        listed.generation += 1;
        durable::replace(&self.path, &file)?;
        let read = self.on_disk()?.ok_or("the revocation list is gone")?;
        let same = read.number == list.number && read.entries.keys().eq(list.entries.keys());
        if !same {
            return Err("the revocation list does not read back as written".to_owned());
        }
        listed.list = list;
        lock(&self.wanted).retain(|serial, _| !wanted.contains_key(serial));
        Ok(())
    }

    fn on_disk(&self) -> Result<Option<List>, String> {
        let file = durable::read_if_there(&self.path, MAX_FILE)?;
        file.map(|file| List::read(&file, &self.authority))
            .transpose()
    }

    fn has_on_disk(&self, serial: Serial) -> bool {
        let list = self.on_disk().ok().flatten();
        list.is_some_and(|list| list.entries.contains_key(&serial))
    }

    /// Runs the command if the list has changed since it last succeeded.
    async fn tell(&self) -> Result<(), Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(());
        };
        let mut told = self.told.lock().await;
        let generation = lock(&self.listed).generation;
        if *told >= generation {
            return Ok(());
        }
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let named = |what: &dyn std::fmt::Display| {
            Failure::away(format!("the list is written, but {program:?} {what}"))
        };
        match tokio::time::timeout(self.patience, command.status()).await {
            Ok(Ok(status)) if status.success() => *told = generation,
            Ok(Ok(status)) => return Err(named(&format_args!("failed: {status}"))),
            Ok(Err(error)) => return Err(named(&format_args!("could not be run: {error}"))),
            Err(_) => return Err(named(&"did not end in time")),
        }
        Ok(())
    }
}
