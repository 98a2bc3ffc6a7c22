//! How long to wait before a lease's revocation is tried again.

use std::time::Duration;

use quietus_core::LeaseId;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Twice as long each time, up to a minute, and of that a share between half and the whole: each lease has its own, so
/// that those that failed together do not come back together.
pub(super) fn delay(lease: LeaseId, attempts: u32) -> Duration {
    let whole = LONGEST.min(FIRST * 2_u32.pow(attempts.min(16)));
    let half = whole / 2;
    half + half * share(lease, attempts) / 256
}

/// 0 to 255, as good as drawn.
fn share(lease: LeaseId, attempts: u32) -> u32 {
    let name = format!("{lease}/{attempts}");
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    u32::from(digest.as_ref().first().copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quietus_core::TaskId;

    use super::*;

    fn lease(number: u32) -> LeaseId {
        LeaseId {
            task: TaskId::from_bytes([7; 16]),
            number,
        }
    }

    #[test]
    fn it_grows_and_stays_within_its_bounds() {
        for attempts in [0, 1, 2, 5, 6, 7, 16, 17, u32::MAX] {
            let whole = LONGEST.min(FIRST * 2_u32.pow(attempts.min(16)));
            for number in 0..100 {
                let delay = delay(lease(number), attempts);
                assert!(
                    delay >= whole / 2 && delay <= whole,
                    "{attempts}: {delay:?}"
                );
            }
        }
    }

    #[test]
    fn leases_that_failed_together_do_not_come_back_together() {
        let delays: BTreeSet<_> = (0..100).map(|number| delay(lease(number), 3)).collect();
        assert!(delays.len() > 50, "{} different", delays.len());
    }
}
