//! Streams of what comes for one user.

use std::collections::VecDeque;

use auth::{TenantId, UserId};

use crate::error::NotificationError;
use crate::hub::Subscription;
use crate::store::{InboxRow, Page, Store};

/// Most notifications that are read at once.
const PAGE: i64 = 100;

/// One thing that a stream tells.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// What came; `None` where only the count changed, and at the beginning.
    pub(crate) notification: Option<InboxRow>,
    pub(crate) unread: i32,
    /// The place up to which all was told.
    pub(crate) sequence: i64,
}

/// Where a stream has come to.
///
/// Nothing is read ahead but a page: the next one is read when the connection has taken it.
pub(crate) struct Place {
    store: Store,
    tenant: TenantId,
    user: UserId,
    subscription: Subscription,
    /// Sequence up to which all was told; `None` before the beginning, for what comes from then on.
    after: Option<i64>,
    /// What was told last of the unread; `None` before the beginning.
    told: Option<i32>,
    unread: i32,
    page: VecDeque<InboxRow>,
}

impl Place {
    pub(crate) fn new(
        store: Store,
        (tenant, user): (TenantId, UserId),
        subscription: Subscription,
        after: Option<i64>,
    ) -> Self {
        let (told, unread, page) = (None, 0, VecDeque::new());
        Self { store, tenant, user, subscription, after, told, unread, page }
    }

    /// Goes on after `sequence`.
    pub(crate) fn go_to(&mut self, sequence: i64) {
        self.after = Some(sequence);
        self.told = None;
        self.page.clear();
    }

    /// Waits for what is told next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Change, NotificationError> {
        loop {
            if let Some(row) = self.page.pop_front() {
                self.after = Some(row.sequence);
                return Ok(self.tell(row.sequence, Some(row)));
            }
            // Before it looks, so that nothing that comes after is slept through.
            self.subscription.catch_up();
            let after = self.after.unwrap_or(i64::MAX);
            let page = Page::After(after);
            let (rows, counts) = self.store.inbox_page(self.tenant, self.user, page, PAGE).await?;
            self.unread = counts.unread;
            let is_beginning = self.told.is_none();
            if is_beginning {
                // No further than there is anything.
                self.after = Some(after.min(counts.sequence));
            }
            let is_news = !rows.is_empty();
            self.page = rows.into();
            if is_beginning || (!is_news && self.told != Some(self.unread)) {
                return Ok(self.tell(self.after.unwrap_or_default(), None));
            }
            if !is_news {
                self.subscription.news().await;
            }
        }
    }

    fn tell(&mut self, sequence: i64, notification: Option<InboxRow>) -> Change {
        self.told = Some(self.unread);
        Change { notification, unread: self.unread, sequence }
    }
}
