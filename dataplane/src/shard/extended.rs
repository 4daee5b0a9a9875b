//! What `PUT /v1.0/metadata/{key}` stored: kept for the life of the sidecar. Control holds a copy for the next data plane.

use super::Shard;
use crate::rt::{self, Mailbox};
use proto::control::attached::{Attachments, Full};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a client waits until control was told, beyond which its entry counts as stored all the same: control hears of
/// it when it listens again.
const TOLD_TIME: Duration = Duration::from_secs(1);

/// Keys and values that clients attached to this sidecar. Not on the way of any call.
#[derive(Debug, Default)]
pub struct Extended(Mutex<Attachments>);

impl Extended {
    /// All entries.
    pub(crate) fn all(&self) -> Attachments {
        self.lock().clone()
    }

    /// Takes over what was attached before this process began.
    pub(crate) fn restore<'e>(&self, earlier: impl IntoIterator<Item = (&'e str, &'e str)>) {
        self.lock().restore(earlier);
    }

    fn lock(&self) -> MutexGuard<'_, Attachments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Attaches an entry in the place of one of the same key, and returns when control, if it is there, was told.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) async fn attach(&self, key: &str, value: &str) -> Result<(), Full> {
        let (told, mut telling) = Mailbox::with_limit(1);
        {
            let mut entries = self.common.extended.lock();
            entries.put(key, value)?;
            self.names.attached(key, value, told); // under the lock: in the order in which they were put
        }
        let _ = rt::within(rt::now() + TOLD_TIME, telling.recv()).await;
        Ok(())
    }
}
