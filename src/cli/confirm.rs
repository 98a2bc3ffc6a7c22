//! Asking before much is ended at once.

use std::io::{self, IsTerminal, Write};

use tokio::sync::oneshot;

use super::text::safe;

/// What to do about a revocation or a removal, once it is known what it would end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Go on.
    Open,
    /// Ask on the terminal.
    Ask,
    /// There is nobody to ask.
    Shut,
}

impl Gate {
    /// By what would end, whether `--yes` was given, and whether there is a terminal to ask on.
    pub fn of(tasks: u64, leases: u64, yes: bool, terminal: bool) -> Self {
        // A target's revocation ends leases and no task.
        let several = tasks > 1 || (tasks == 0 && leases > 1);
        Self::when(several && !yes, terminal)
    }

    /// By whether there is something to ask, and a terminal to ask on.
    pub fn when(doubtful: bool, terminal: bool) -> Self {
        match (doubtful, terminal) {
            (false, _) => Self::Open,
            (true, true) => Self::Ask,
            (true, false) => Self::Shut,
        }
    }
}

/// Whether a question can be seen and answered.
pub fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks on standard error, and waits for an answer on standard input.
pub async fn ask(question: &str) -> io::Result<bool> {
    write!(io::stderr().lock(), "{} [y/N] ", safe(question))?;
    let (send, receive) = oneshot::channel();
    // Not on the runtime, which would wait for the answer before it shuts down.
    std::thread::spawn(move || send.send(read_line()));
    let line = receive.await.map_err(io::Error::other)??;
    Ok(is_yes(&line))
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_ends_much_is_asked_about() {
        let cases = [
            (0, 0, false, false, Gate::Open),
            (1, 0, false, false, Gate::Open),
            (1, 9, false, false, Gate::Open),
            (0, 1, false, false, Gate::Open),
            (0, 2, false, true, Gate::Ask),
            (0, 2, false, false, Gate::Shut),
            (2, 0, false, true, Gate::Ask),
            (2, 0, false, false, Gate::Shut),
            (2, 5, true, true, Gate::Open),
            (2, 5, true, false, Gate::Open),
        ];
        for (tasks, leases, yes, terminal, gate) in cases {
            assert_eq!(
                Gate::of(tasks, leases, yes, terminal),
                gate,
                "{tasks} {leases} {yes} {terminal}"
            );
        }
    }

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, yes) in [
            ("y\n", true),
            ("Yes\r\n", true),
            ("\n", false),
            ("", false),
            ("no", false),
            ("yep", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
