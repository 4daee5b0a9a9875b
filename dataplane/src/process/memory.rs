//! Watches how much memory the process uses; above `--max-memory` new calls are refused.

use crate::log::{self, RUNTIME};
use crate::rt;
use crate::shard::Shard;
use proto::policy::memory::Watermark;
use std::rc::Rc;
use std::time::Duration;

/// Time between two looks below half of the mark, and above it.
const SELDOM: Duration = Duration::from_secs(1);
const OFTEN: Duration = Duration::from_millis(100);

/// Looks for ever. `high` in bytes; 0 is no limit.
pub(super) async fn watch(shard: Rc<Shard>, high: u64) {
    let mut mark = Watermark::new(high);
    shard.common.memory.set_limit(high);
    if high == 0 {
        return;
    }
    loop {
        let Some(used) = rt::resident() else { return };
        if mark.looked(used, shard.common.registry.calls()) {
            tell(&shard, mark, used);
        }
        if mark.is_short() {
            rt::blocking(rt::trim).await;
        }
        let pause = if used < high / 2 { SELDOM } else { OFTEN };
        rt::sleep_until(rt::now() + pause).await;
    }
}

fn tell(shard: &Shard, mark: Watermark, used: u64) {
    shard.common.memory.set_short(mark.is_short());
    if !mark.is_short() {
        log::info(RUNTIME, format_args!("memory: {used} bytes are used; new calls are taken again"));
    }
}
