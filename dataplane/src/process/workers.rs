//! Tasks that serve the calls of other sidecars, one call after the other: the state of a call is some kilobytes, and
//! a call that finds an idle worker costs neither a new task nor that memory.

use crate::mesh::Call;
use crate::proxy;
use crate::rt;
use crate::shard::Shard;
use crate::shard::survive::Survive;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Most workers that wait for a call; those beyond end with theirs.
const MOST_IDLE: usize = 256;

/// The workers of one shard.
pub(super) struct Workers {
    shard: Rc<Shard>,
    /// The one that became idle last is the next to work, while its memory is warm.
    idle: RefCell<Vec<Rc<Desk>>>,
}

/// Where a worker gets its calls.
#[derive(Default)]
struct Desk {
    call: Cell<Option<Call>>,
    worker: Cell<Option<Waker>>,
}

impl Desk {
    fn put(&self, call: Call) {
        self.call.set(Some(call));
        if let Some(worker) = self.worker.take() {
            worker.wake();
        }
    }

    async fn next(&self) -> Call {
        poll_fn(|cx| match self.call.take() {
            Some(call) => Poll::Ready(call),
            None => {
                self.worker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl Workers {
    pub(super) fn new(shard: Rc<Shard>) -> Rc<Workers> {
        Rc::new(Workers { shard, idle: RefCell::default() })
    }

    /// Has a call served: by an idle worker, else by a new one.
    pub(super) fn serve(self: &Rc<Self>, call: Call) {
        let idle = self.idle.borrow_mut().pop();
        let desk = idle.unwrap_or_else(|| {
            let desk = Rc::<Desk>::default();
            rt::spawn(Survive::new(work(self.clone(), desk.clone())));
            desk
        });
        desk.put(call);
    }

    /// A worker has finished its call. `false`: there are enough idle ones.
    fn rest(&self, desk: &Rc<Desk>) -> bool {
        let mut idle = self.idle.borrow_mut();
        let stays = idle.len() < MOST_IDLE;
        if stays {
            idle.push(desk.clone());
        }
        stays
    }
}

/// A worker. A panic ends it with its call; it is not among the idle ones then.
async fn work(workers: Rc<Workers>, desk: Rc<Desk>) {
    loop {
        let call = desk.next().await;
        proxy::inbound::handle(workers.shard.clone(), call).await;
        if !workers.rest(&desk) {
            return;
        }
    }
}
