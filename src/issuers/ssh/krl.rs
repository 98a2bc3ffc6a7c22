//! A key revocation list (OpenSSH, PROTOCOL.krl): one CA, certificates by their key ids.
//!
//! A list does not say when certificates expire, and what has expired need not stay on it. So the comment in its
//! header, which nothing else reads, says for every entry how long to keep it: `<lease> <seconds since 1970>`.

use std::collections::BTreeMap;
use std::time::Duration;

use quietus_core::{LeaseId, Timestamp};

use super::wire::{Reader, Writer};

const MAGIC: u64 = 0x5353_484b_524c_0a00;
const FORMAT: u32 = 1;
const SECTION_CERTIFICATES: u8 = 1;
const CERTIFICATES_KEY_ID: u8 = 0x23;
/// How long an entry stays after its certificate has expired, for clocks that are behind.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Krl {
    pub(super) version: u64,
    /// Every revoked lease, and when its certificate has expired for certain.
    pub(super) entries: BTreeMap<LeaseId, Timestamp>,
}

impl Krl {
    /// Drops what no longer needs to be listed.
    pub(super) fn drop_expired(&mut self, now: Timestamp) {
        self.entries.retain(|_, end| now <= end.after(KEPT));
    }

    /// The next list: a higher version, even if the file before was lost.
    pub(super) fn write(&mut self, ca: &[u8], now: Timestamp) -> Vec<u8> {
        self.version = now.0.max(self.version.saturating_add(1));
        let line = |(id, end): (&LeaseId, &Timestamp)| format!("{id} {}\n", end.seconds());
        let comment: String = self.entries.iter().map(line).collect();
        let mut whole = Writer::default();
        whole
            .u64(MAGIC)
            .u32(FORMAT)
            .u64(self.version)
            .u64(now.seconds());
        whole.u64(0).string("").string(comment);
        if !self.entries.is_empty() {
            let mut ids = Writer::default();
            for id in self.entries.keys() {
                ids.string(id.to_string());
            }
            let mut section = Writer::default();
            section.string(ca).string("");
            section.byte(CERTIFICATES_KEY_ID).string(ids.finish());
            whole.byte(SECTION_CERTIFICATES).string(section.finish());
        }
        whole.finish()
    }

    /// Reads a list of this CA, as it is written here and not otherwise.
    pub(super) fn read(file: &[u8], ca: &[u8]) -> Result<Self, &'static str> {
        const BROKEN: &str = "is not a key revocation list";
        let mut reader = Reader(file);
        if (reader.u64(), reader.u32()) != (Some(MAGIC), Some(FORMAT)) {
            return Err(BROKEN);
        }
        let (version, _date) = (reader.u64().ok_or(BROKEN)?, reader.u64().ok_or(BROKEN)?);
        let (_flags, _reserved) = (reader.u64().ok_or(BROKEN)?, reader.string().ok_or(BROKEN)?);
        let ends = ends(reader.string().ok_or(BROKEN)?);
        let mut entries = BTreeMap::new();
        while !reader.is_empty() {
            let kind = reader.byte().ok_or(BROKEN)?;
            let section = reader.string().ok_or(BROKEN)?;
            if kind != SECTION_CERTIFICATES {
                return Err("revokes what is not a certificate of a lease");
            }
            for id in ids(section, ca)? {
                // An entry of which nothing is known stays.
                let end = ends.get(&id).copied().unwrap_or(Timestamp(u64::MAX));
                entries.insert(id, end);
            }
        }
        Ok(Self { version, entries })
    }
}

fn ids(section: &[u8], ca: &[u8]) -> Result<Vec<LeaseId>, &'static str> {
    const BROKEN: &str = "ends too soon";
    let mut reader = Reader(section);
    let (own, _reserved) = (
        reader.string().ok_or(BROKEN)?,
        reader.string().ok_or(BROKEN)?,
    );
    if own != ca {
        return Err("is of another CA than the one in ca_key");
    }
    let mut ids = Vec::new();
    while !reader.is_empty() {
        let kind = reader.byte().ok_or(BROKEN)?;
        let mut inner = Reader(reader.string().ok_or(BROKEN)?);
        if kind != CERTIFICATES_KEY_ID {
            return Err("revokes by something else than key ids");
        }
        while !inner.is_empty() {
            let id = std::str::from_utf8(inner.string().ok_or(BROKEN)?).ok();
            let id = id.and_then(|text| text.parse().ok());
            ids.push(id.ok_or("holds a key id that is not a lease")?);
        }
    }
    Ok(ids)
}

fn ends(comment: &[u8]) -> BTreeMap<LeaseId, Timestamp> {
    let text = String::from_utf8_lossy(comment);
    let line = |line: &str| {
        let (id, seconds) = line.split_once(' ')?;
        let end = Timestamp::from_seconds(seconds.parse().ok()?);
        Some((id.parse().ok()?, end))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Krl {
        let id = |n: u32| format!("0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.{n}");
        let entry = |n| (id(n).parse().unwrap(), Timestamp::from_seconds(1_000));
        Krl {
            version: 7,
            entries: (0..3).map(entry).collect(),
        }
    }

    #[test]
    fn a_list_reads_back_as_written_and_its_version_grows() {
        let mut list = full();
        let file = list.write(b"ca", Timestamp(3));
        assert_eq!(list.version, 8);
        assert_eq!(Krl::read(&file, b"ca"), Ok(list));
    }

    #[test]
    fn a_list_that_is_cut_short_or_of_another_ca_is_not_read() {
        let file = full().write(b"ca", Timestamp(3));
        let header = 44 + 3 * 44;
        for end in (0..file.len()).filter(|&end| end != header) {
            assert!(Krl::read(&file[..end], b"ca").is_err(), "{end}");
        }
        assert!(Krl::read(&file, b"other").is_err());
    }

    #[test]
    fn what_has_expired_is_dropped_an_hour_later() {
        let mut list = full();
        list.drop_expired(Timestamp::from_seconds(1_000 + 3_600));
        assert_eq!(list.entries.len(), 3);
        list.drop_expired(Timestamp::from_seconds(1_000 + 3_601));
        assert!(list.entries.is_empty());
    }
}
