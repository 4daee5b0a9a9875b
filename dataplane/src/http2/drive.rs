//! The task of a connection: receives, decrypts, decodes, wakes; closes in the end.

use super::link::{Link, LinkEnd, clock};
use crate::rt::{self, Chunk, Reader, RecvError, Tick};
use proto::http2::{Event, Violation};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Steps without a wait after which the shard's other tasks have their turn, whatever one peer sends.
const STREAK: u32 = 16;

/// What the driver woke up for.
enum Step {
    Chunk(Chunk),
    /// There is news, or the socket takes more.
    Go,
    Time,
    End(LinkEnd),
}

/// Drives a connection to its end. `news` gets the events that are not about calls in progress.
pub(crate) async fn drive(link: Rc<Link>, reader: Reader, news: impl FnMut(&Rc<Link>, Event)) -> LinkEnd {
    drive_from(link, Vec::new(), reader, news).await
}

/// [`drive`] for a connection of which `first` was received before it was known to be one.
pub(crate) async fn drive_from(
    link: Rc<Link>,
    mut first: Vec<u8>,
    mut reader: Reader,
    mut news: impl FnMut(&Rc<Link>, Event),
) -> LinkEnd {
    let mut give_up = Tick::NEVER;
    let mut streak = 0;
    let begun = begin(&link, &mut first, &mut news);
    drop(first);
    let end = loop {
        if let Err(end) = begun {
            break end;
        }
        if streak == STREAK {
            rt::yield_now().await;
            streak = 0;
        }
        let step = poll_fn(|cx| {
            let step = poll_step(&link, &mut reader, give_up, cx);
            streak = if step.is_ready() { streak + 1 } else { 0 };
            step
        });
        let done = match step.await {
            Step::Chunk(mut chunk) => on_bytes(&link, &mut chunk),
            Step::Go => {
                link.touch(&mut link.inner());
                Ok(())
            }
            Step::Time => on_time(&link),
            Step::End(end) => Err(end),
        };
        if done.is_ok() {
            report(&link, &mut news);
        }
        if let Err(end) = done {
            break end;
        }
        let inner = &*link.inner();
        if inner.conn.is_over() {
            // the last answers may still wait for the socket
            if !inner.conn.wants_write() || give_up <= rt::now() {
                break LinkEnd::Left;
            }
            give_up = give_up.min(rt::now() + link.limits.close);
        }
    };
    finish(&link, reader, end.clone());
    report(&link, &mut news);
    let wakers = link.inner().waiters.all();
    wakers.into_iter().for_each(Waker::wake);
    end
}

fn begin(link: &Rc<Link>, first: &mut [u8], news: &mut impl FnMut(&Rc<Link>, Event)) -> Result<(), LinkEnd> {
    if !first.is_empty() {
        on_bytes(link, first)?;
    }
    report(link, news);
    Ok(())
}

fn poll_step(link: &Rc<Link>, reader: &mut Reader, most: Tick, cx: &mut Context<'_>) -> Poll<Step> {
    let (sendable, by) = link.poll_drive(cx);
    match sendable {
        Poll::Ready(Ok(())) => return Poll::Ready(Step::Go),
        Poll::Ready(Err(error)) => return Poll::Ready(Step::End(LinkEnd::Io(error.to_string()))),
        Poll::Pending => {}
    }
    pin!(reader.recv(by.min(most))).poll(cx).map(|received| match received {
        Ok(Some(chunk)) => Step::Chunk(chunk),
        Ok(None) => Step::End(LinkEnd::Closed),
        Err(RecvError::Deadline) => Step::Time,
        Err(RecvError::Io(error)) => Step::End(LinkEnd::Io(error.to_string())),
    })
}

/// Frames are taken out of what was received, or of the record decrypted in it, in place.
fn on_bytes(link: &Rc<Link>, chunk: &mut [u8]) -> Result<(), LinkEnd> {
    let inner = &mut *link.inner();
    let now = clock();
    let result = match &mut inner.tls {
        None => inner.conn.receive(chunk, now).map_err(LinkEnd::Http2),
        Some(tls) => {
            let mut out = rt::turn_buffer();
            let (conn, mut wrong) = (&mut inner.conn, None::<Violation>);
            let opened = tls.open(chunk, &mut out, |plain| {
                if wrong.is_none() {
                    wrong = conn.receive(plain, now).err();
                }
            });
            let closed = tls.is_closed();
            inner.send_raw(out);
            match (opened, wrong) {
                (Err(error), _) => Err(LinkEnd::Tls(error)),
                (Ok(()), Some(violation)) => Err(LinkEnd::Http2(violation)),
                (Ok(()), None) if closed => Err(LinkEnd::Closed),
                (Ok(()), None) => Ok(()),
            }
        }
    };
    link.touch(inner);
    result
}

fn on_time(link: &Rc<Link>) -> Result<(), LinkEnd> {
    let due = link.inner().waiters.expire(rt::now());
    due.into_iter().for_each(Waker::wake);
    let inner = &mut *link.inner();
    let result = inner.conn.tick(clock()).map_err(LinkEnd::Http2);
    link.touch(inner);
    result
}

/// Wakes calls and passes the other news on, one at a time: the connection is not borrowed meanwhile.
fn report(link: &Rc<Link>, news: &mut impl FnMut(&Rc<Link>, Event)) {
    loop {
        let (event, waker) = {
            let inner = &mut *link.inner();
            let Some(event) = inner.conn.poll() else { return };
            let waker = if let Event::Progress(slot) = event { inner.waiters.take(slot) } else { None };
            (event, waker)
        };
        match event {
            Event::Progress(_) => waker.into_iter().for_each(|waker| waker.wake()),
            event => news(link, event),
        }
    }
}

/// Says goodbye as far as the connection allows, and closes the socket.
fn finish(link: &Rc<Link>, reader: Reader, end: LinkEnd) {
    let inner = &mut *link.inner();
    if end == LinkEnd::Closed && inner.conn.open_streams() == 0 && inner.conn.peer_settled() {
        inner.end = Some(LinkEnd::Left);
    } else {
        inner.end = Some(end);
    }
    inner.conn.closed();
    inner.flush();
    if let Some(tls) = &mut inner.tls {
        let mut out = rt::turn_buffer();
        tls.close_notify(&mut out);
        inner.send_raw(out);
    }
    if let Some(writer) = inner.writer.take() {
        writer.close(link.limits.close);
    }
    drop(reader);
}
