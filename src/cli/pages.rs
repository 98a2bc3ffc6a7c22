//! Lists that come in pages.

use std::future::Future;

use clap::Args;

use super::output::note;

/// The most rows to ask for at once.
const PAGE: usize = 500;

#[derive(Args, Clone, Copy, Debug)]
pub struct Limit {
    /// The most rows to list; 0 lists all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Rows from as many pages as were needed.
#[derive(Debug, PartialEq, Eq)]
pub struct Gathered<T> {
    pub rows: Vec<T>,
    /// Whether there may be more than the limit let through.
    more: bool,
}

impl Limit {
    /// Fetches pages (by size and token) until there are enough rows or no pages left.
    pub async fn gather<T, F>(
        self,
        mut fetch: impl FnMut(u32, String) -> F,
    ) -> anyhow::Result<Gathered<T>>
    where
        F: Future<Output = anyhow::Result<(Vec<T>, String)>>,
    {
        let mut rows = Vec::new();
        let mut token = String::new();
        loop {
            let (page, next) = fetch(self.page_size(rows.len()), token.clone()).await?;
            rows.extend(page);
            // A token that repeats would go on for ever.
            let last = next.is_empty() || next == token;
            if last || self.is_reached(rows.len()) {
                let more = !last;
                return Ok(Gathered { rows, more });
            }
            token = next;
        }
    }

    fn page_size(self, have: usize) -> u32 {
        let wanted = match self.limit {
            0 => PAGE,
            limit => limit.saturating_sub(have).min(PAGE),
        };
        u32::try_from(wanted).unwrap_or(u32::MAX)
    }

    fn is_reached(self, rows: usize) -> bool {
        self.limit > 0 && rows >= self.limit
    }
}

impl<T> Gathered<T> {
    /// Says on standard error what the list itself does not: that it is empty, or not complete.
    pub fn note(&self, thing: &str) -> std::io::Result<()> {
        match (self.rows.is_empty(), self.more) {
            (true, _) => note(format!("no {thing}s match")),
            (_, true) => note(format!("there may be more {thing}s: --limit 0 lists all")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Lists `total` numbers, and what was asked for on the way.
    async fn list(limit: usize, total: usize) -> (Gathered<usize>, Vec<u32>) {
        let sizes = RefCell::new(Vec::new());
        let fetch = |size: u32, token: String| {
            sizes.borrow_mut().push(size);
            let start: usize = token.parse().unwrap_or(0);
            let end = total.min(start + size as usize);
            let next = if end < total {
                end.to_string()
            } else {
                String::new()
            };
            async move { Ok(((start..end).collect(), next)) }
        };
        let gathered = Limit { limit }.gather(fetch).await.unwrap();
        (gathered, sizes.into_inner())
    }

    #[tokio::test]
    async fn pages_are_fetched_up_to_the_limit() {
        let cases: [(usize, usize, usize, bool, &[u32]); 6] = [
            (100, 0, 0, false, &[100]),
            (100, 100, 100, false, &[100]),
            (100, 101, 100, true, &[100]),
            (700, 2000, 700, true, &[500, 200]),
            (0, 1200, 1200, false, &[500, 500, 500]),
            (700, 600, 600, false, &[500, 200]),
        ];
        for (limit, total, rows, more, asked) in cases {
            let (gathered, sizes) = list(limit, total).await;
            assert_eq!(
                gathered.rows,
                (0..rows).collect::<Vec<_>>(),
                "{limit} of {total}"
            );
            assert_eq!(
                (gathered.more, sizes.as_slice()),
                (more, asked),
                "{limit} of {total}"
            );
        }
    }

    #[tokio::test]
    async fn an_empty_page_is_not_the_end_but_a_repeated_token_is() {
        let fetch = |_, token: String| async move {
            Ok(match token.as_str() {
                "" => (vec![], "a".to_owned()),
                _ => (vec![1], "a".to_owned()),
            })
        };
        let gathered = Limit { limit: 0 }.gather(fetch).await.unwrap();
        assert_eq!(gathered.rows, [1]);
    }
}
