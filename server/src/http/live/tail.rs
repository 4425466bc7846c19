//! Pages of logs that many look at: read and put in words once for all readers that stand at the same line, as all do
//! who watch a log grow. Whoever lags behind reads pages of its own and delays nobody.

use super::hub::Change;
use axum::extract::ws::Utf8Bytes;
use odooops::{Error, Result, id::RunId};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering},
    },
};
use tokio::sync::OnceCell;

/// Pages kept of a log: readers are never all equally fast.
const KEPT: usize = 8;
/// Before anything was told of a log, and after something may have been missed.
const UNKNOWN: i64 = i64::MAX;

/// The logs that somebody looks at. One that nobody holds is gone.
#[derive(Default)]
pub struct Tails(Mutex<HashMap<RunId, Weak<Tail>>>);

impl Tails {
    pub fn of(&self, run: RunId) -> Arc<Tail> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tail) = all.get(&run).and_then(Weak::upgrade) {
            return tail;
        }
        all.retain(|_, tail| tail.strong_count() > 0);
        let tail = Arc::new(Tail { head: AtomicI64::new(UNKNOWN), pages: Mutex::default() });
        all.insert(run, Arc::downgrade(&tail));
        tail
    }

    pub fn note(&self, change: Change) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::Log(run, seq) => {
                if let Some(tail) = all.get(&run).and_then(Weak::upgrade) {
                    tail.head.store(seq, Ordering::SeqCst);
                }
            }
            Change::Everything => {
                for tail in all.values().filter_map(Weak::upgrade) {
                    tail.head.store(UNKNOWN, Ordering::SeqCst);
                }
            }
            _ => {}
        }
    }
}

/// Some lines of a log as they are sent.
#[derive(Debug, Clone)]
pub struct Page {
    pub last: i64,
    pub frame: Utf8Bytes,
}

pub struct Tail {
    /// The last line that PostgreSQL told of.
    head: AtomicI64,
    /// By the line that they follow.
    pages: Mutex<VecDeque<(i64, Arc<OnceCell<Page>>)>>,
}

impl Tail {
    /// Whether there may be lines behind this one.
    pub fn reaches_beyond(&self, seq: i64) -> bool {
        self.head.load(Ordering::SeqCst) > seq
    }

    /// The page after a line; None when there is none yet. The caller was authorised for the log: its lines are the
    /// same for all who may see them, and never change.
    pub async fn page(
        &self,
        after: i64,
        read: impl AsyncFnOnce() -> Result<Option<Page>>,
    ) -> Result<Option<Page>> {
        let page = self.place(after);
        // None is kept by nobody: the next who asks reads again.
        let read = async || read().await.map_err(Some)?.ok_or(None::<Error>);
        match page.get_or_try_init(read).await {
            Ok(page) => Ok(Some(page.clone())),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    fn place(&self, after: i64) -> Arc<OnceCell<Page>> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, page)) = pages.iter().find(|(key, _)| *key == after) {
            return Arc::clone(page);
        }
        let page = Arc::new(OnceCell::new());
        // The foremost are those that many will ask for.
        let lowest =
            pages.iter().enumerate().min_by_key(|(_, (key, _))| *key).map(|(at, (key, _))| (at, *key));
        match lowest {
            Some((at, key)) if pages.len() >= KEPT => {
                if key > after {
                    return page;
                }
                pages.remove(at);
            }
            _ => {}
        }
        pages.push_back((after, Arc::clone(&page)));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Notify;

    fn page(last: i64) -> Page {
        Page { last, frame: Utf8Bytes::from(last.to_string()) }
    }

    #[tokio::test]
    async fn readers_at_the_same_line_share_one_read() {
        let tail = Tails::default().of(RunId::new());
        let (reads, go) = (AtomicUsize::new(0), Notify::new());
        let read = || {
            tail.page(7, async || {
                reads.fetch_add(1, Ordering::SeqCst);
                go.notified().await;
                Ok(Some(page(9)))
            })
        };
        let all = futures::future::join_all((0..50).map(|_| read()));
        let (all, ()) = tokio::join!(all, async { go.notify_one() });
        assert!(all.into_iter().all(|page| page.unwrap().unwrap().last == 9));
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_reader_that_lags_delays_nobody_and_takes_no_place() {
        let tail = Tails::default().of(RunId::new());
        for after in 100..100 + KEPT as i64 {
            tail.page(after, async || Ok(Some(page(after + 1)))).await.unwrap();
        }
        let never = tail.page(1, std::future::pending::<Result<Option<Page>>>);
        let mut never = std::pin::pin!(never);
        assert!(futures::poll!(&mut never).is_pending());
        let kept = tail.page(100, async || unreachable!()).await.unwrap().unwrap();
        assert_eq!(kept.last, 101);
    }

    #[tokio::test]
    async fn an_empty_page_and_an_error_are_not_kept() {
        let tail = Tails::default().of(RunId::new());
        assert!(tail.page(1, async || Ok(None)).await.unwrap().is_none());
        assert!(tail.page(1, async || Err(Error::internal("x"))).await.is_err());
        assert_eq!(tail.page(1, async || Ok(Some(page(2)))).await.unwrap().unwrap().last, 2);
    }

    #[test]
    fn what_was_told_says_whether_there_is_more() {
        let (tails, run) = (Tails::default(), RunId::new());
        let tail = tails.of(run);
        assert!(tail.reaches_beyond(5));
        tails.note(Change::Log(run, 5));
        tails.note(Change::Log(RunId::new(), 9));
        assert!(tail.reaches_beyond(4) && !tail.reaches_beyond(5));
        tails.note(Change::Everything);
        assert!(tail.reaches_beyond(5));
    }
}
