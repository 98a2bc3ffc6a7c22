//! The report as Markdown.

use std::fmt;

use super::{ControlReport, Evidence, Kind, Report, Seen, Stands};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Evidence for {}, {}\n", self.name, self.edition)?;
        self.about(f)?;
        writeln!(f, "\n## Controls\n\n{}\n", self.titles)?;
        writeln!(
            f,
            "Only the identifiers below were looked at; on the rest of the framework nothing is claimed. Evidence is of \
             what the broker did. It is not a finding of compliance.\n"
        )?;
        writeln!(
            f,
            "| Control | Title | Stands | Evidence |\n|---|---|---|---|"
        )?;
        for control in &self.controls {
            self.row(f, control)?;
        }
        writeln!(f, "\n## Evidence")?;
        for evidence in &self.evidence {
            write_evidence(f, evidence)?;
        }
        Ok(())
    }
}

impl Report {
    fn about(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = |time: &Option<String>, otherwise: &str| {
            time.clone().unwrap_or_else(|| otherwise.to_owned())
        };
        writeln!(f, "- Written: {}", self.at)?;
        writeln!(
            f,
            "- Period: from {} to {}",
            day(&self.since, "the first entry"),
            day(&self.until, "the last entry")
        )?;
        match self.entries.entries {
            0 => writeln!(f, "- Entries: **none in this period**")?,
            _ => writeln!(f, "- Entries: {}", range(&self.entries))?,
        }
        writeln!(f, "- Log: {}", code(&self.record.origin))?;
        let brokers: Vec<_> = self.brokers.iter().map(|broker| code(broker)).collect();
        if !brokers.is_empty() {
            writeln!(f, "- Written by: {}", brokers.join(", "))?;
        }
        if self.unreadable.entries > 0 {
            let unreadable = range(&self.unreadable);
            writeln!(f, "- **Entries that cannot be read: {unreadable}**")?;
        }
        Ok(())
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, control: &ControlReport) -> fmt::Result {
        let evidence = control.evidence.iter();
        let evidence: Vec<_> = evidence
            .map(|(kind, stands)| self.bears(*kind, *stands))
            .collect();
        let evidence = match evidence.is_empty() {
            true => "none: the broker does not bear on it".to_owned(),
            false => evidence.join("; "),
        };
        let stands = match (control.stands, control.in_part) {
            (Stands::Evidence, _) => "evidence",
            (Stands::Partial, true) => "evidence, of a part",
            (Stands::Partial, false) => "evidence, not of every kind",
            (Stands::NoEntries, _) => "**no entries in this period**",
            (Stands::None, _) => "**none**",
            (Stands::Contradicted, _) => "**does not hold**",
        };
        writeln!(
            f,
            "| {} | {} | {stands} | {evidence} |",
            control.id, control.title
        )
    }

    fn bears(&self, kind: Kind, stands: Stands) -> String {
        let name = kind.name();
        let mut evidence = self.evidence.iter();
        let seen = evidence.find(|evidence| evidence.kind == kind);
        match stands {
            Stands::Evidence | Stands::Partial => {
                let entries = seen.map_or(0, |evidence| evidence.seen.entries);
                format!("{name}: {}", plural(entries))
            }
            Stands::NoEntries => format!("{name}: no entries"),
            Stands::None => format!("{name}: none yet"),
            Stands::Contradicted => format!("{name}: does not hold"),
        }
    }
}

fn write_evidence(f: &mut fmt::Formatter<'_>, evidence: &Evidence) -> fmt::Result {
    writeln!(f, "\n### {}: {}\n", evidence.kind.name(), evidence.title)?;
    match evidence.stands {
        Stands::None => {
            let absent = evidence.kind.absent().unwrap_or("there is none");
            writeln!(f, "None: {absent}.")?;
        }
        Stands::NoEntries => writeln!(f, "No entries in this period.")?,
        Stands::Contradicted => writeln!(f, "**Does not hold.**")?,
        Stands::Evidence | Stands::Partial => {}
    }
    if evidence.seen.entries > 0 {
        writeln!(f, "- entries: {}", range(&evidence.seen))?;
    }
    for figure in &evidence.figures {
        writeln!(f, "- {}: {}", figure.what, plain(&figure.value))?;
    }
    if !evidence.settings.is_empty() {
        writeln!(f, "\nConfigured now:\n")?;
    }
    for setting in &evidence.settings {
        writeln!(f, "- {}: {}", code(setting.what), plain(&setting.value))?;
    }
    match evidence.note {
        Some(note) => writeln!(f, "\n{note}"),
        None => Ok(()),
    }
}

fn range(seen: &Seen) -> String {
    let (Some(first), Some(last)) = (seen.first, seen.last) else {
        return "none".to_owned();
    };
    let count = seen.entries;
    let examples: Vec<_> = seen.examples.iter().map(ToString::to_string).collect();
    match count {
        1 => format!("1 (entry {first})"),
        _ => format!(
            "{count} (first {first}, last {last}; for example {})",
            examples.join(", ")
        ),
    }
}

fn plural(entries: u64) -> String {
    match entries {
        1 => "1 entry".to_owned(),
        entries => format!("{entries} entries"),
    }
}

/// Words from the log, which could mean something in Markdown.
fn plain(text: &str) -> String {
    let special = |c: char| "\\`*<>[]!|#&~".contains(c);
    let mut shown = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        if special(c) {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

fn code(text: &str) -> String {
    let kept = text.chars().filter(|c| !c.is_control());
    let kept = kept.map(|c| if matches!(c, '`' | '|') { '\'' } else { c });
    format!("`{}`", kept.collect::<String>())
}
