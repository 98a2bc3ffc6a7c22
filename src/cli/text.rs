//! Words for people: times as distances, and text from elsewhere made harmless.

use std::time::{Duration, SystemTime};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with every character escaped that a terminal would act on or that would hide what is there.
///
/// Purposes and tickets are written by agents: a line break could forge a row, an escape sequence rewrite the screen,
/// and a bidirectional override turn a name around.
pub fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The same for JSON text, in which these characters can only stand inside strings.
pub fn safe_json(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) && c != '\n' {
            true => push_json_escape(&mut shown, c),
            false => shown.push(c),
        }
    }
    shown
}

/// The beginning of the text, in at most so many columns.
pub fn short(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |c: &char| {
        taken += c.width().unwrap_or(0);
        taken <= columns
    };
    let mut shown: String = text.chars().take_while(fits).collect();
    shown.push('…');
    shown
}

/// How far away a point in time is: `in 4m12s`, `3s ago` or `now`.
pub fn relative(at: SystemTime, now: SystemTime) -> String {
    let (distance, future) = match at.duration_since(now) {
        Ok(ahead) => (ahead, true),
        Err(error) => (error.duration(), false),
    };
    let seconds = distance.as_millis().saturating_add(500) / 1000;
    match (seconds, future) {
        (0, _) => "now".to_owned(),
        (_, true) => format!("in {}", units(seconds)),
        (_, false) => format!("{} ago", units(seconds)),
    }
}

/// A length of time in its two largest units: `4m12s`, `1h3m`, `2d4h`.
pub fn length(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 1..1000 => format!("{millis}ms"),
        millis => units(millis / 1000),
    }
}

/// A number of bytes, in the unit that suits it.
pub fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| count >= *size);
    unit.map_or_else(
        || format!("{count} B"),
        |(size, name)| format!("{}.{} {name}", count / size, count % size * 10 / size),
    )
}

/// `1 task`, `2 tasks`.
pub fn count(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

/// A name in the wire's capitals as one lower-case word: `TaskEnded` as `task_ended`.
pub fn snake(name: &str) -> String {
    let mut word = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.push(c.to_ascii_lowercase());
    }
    word
}

fn units(seconds: u128) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(size, _)| seconds >= *size);
    let first = first.unwrap_or(UNITS.len() - 1);
    let (size, unit) = UNITS[first];
    let largest = format!("{}{unit}", seconds / size);
    match UNITS.get(first + 1) {
        Some((next, unit)) if seconds % size >= *next => {
            format!("{largest}{}{unit}", seconds % size / next)
        }
        _ => largest,
    }
}

fn push_json_escape(shown: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        shown.push_str(&format!("\\u{unit:04x}"));
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_distances() {
        let cases: [(i64, &str); 16] = [
            (0, "now"),
            (499, "now"),
            (-499, "now"),
            (500, "in 1s"),
            (-3_000, "3s ago"),
            (59_499, "in 59s"),
            (59_500, "in 1m"),
            (252_000, "in 4m12s"),
            (-252_000, "4m12s ago"),
            (300_000, "in 5m"),
            (3_599_000, "in 59m59s"),
            (3_600_000, "in 1h"),
            (3_659_000, "in 1h"),
            (-3_780_000, "1h3m ago"),
            (187_200_000, "in 2d4h"),
            (-86_400_000, "1d ago"),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (millis, told) in cases {
            let distance = Duration::from_millis(millis.unsigned_abs());
            let at = if millis < 0 {
                now - distance
            } else {
                now + distance
            };
            assert_eq!(relative(at, now), told, "{millis}");
        }
    }

    #[test]
    fn lengths_have_two_units() {
        let cases = [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (90_000, "1m30s"),
            (7_200_000, "2h"),
        ];
        for (millis, told) in cases {
            assert_eq!(length(Duration::from_millis(millis)), told);
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let cases = [
            ("fix the orders", "fix the orders"),
            ("Überprüfung 検査 🙂", "Überprüfung 検査 🙂"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\x07\x08\x7f", "\\u{7}\\u{8}\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gro", "\\u{202e}gro"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
        ];
        for (text, shown) in cases {
            assert_eq!(safe(text), shown, "{text:?}");
        }
    }

    #[test]
    fn json_with_escapes_means_what_it_meant() {
        let text = "a\x1b[2J\u{7f}\u{9b}\u{202e}\u{e0041} ü\n";
        let written = safe_json(&serde_json::to_string_pretty(&[text]).unwrap());
        assert!(
            !written.chars().any(|c| is_hidden(c) && c != '\n'),
            "{written}"
        );
        assert_eq!(
            serde_json::from_str::<[String; 1]>(&written).unwrap(),
            [text]
        );
    }

    #[test]
    fn text_is_cut_by_columns() {
        let cases = [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("検査検査", 5, "検査…"),
            ("", 0, ""),
        ];
        for (text, columns, shown) in cases {
            assert_eq!(short(text, columns), shown);
        }
    }

    #[test]
    fn other_words() {
        assert_eq!(snake("TaskEnded"), "task_ended");
        assert_eq!(snake("Completed"), "completed");
        assert_eq!(count(1, "task"), "1 task");
        assert_eq!(count(0, "lease"), "0 leases");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_600_000), "1.5 MiB");
    }
}
