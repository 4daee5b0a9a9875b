//! The seam between the resolver and its ways of looking: mDNS, the registry of this host, a fixed table, others later.

use proto::snapshot::AppRef;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use tokio::sync::watch;

/// A future of a way; boxed, as the resolver holds ways of several kinds.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// This sidecar, as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The app it speaks for.
    pub app: AppRef,
    /// The advertised address of its mesh hop.
    pub address: SocketAddr,
    /// The operating system's host name.
    pub host_name: String,
    /// Tells several sidecars of one host apart.
    pub pid: u32,
}

/// One way of looking for the sidecars of an app.
pub trait Way: Send + Sync {
    /// Its name in error messages and in `status`.
    fn name(&self) -> &'static str;

    /// Presents this sidecar until `withdraw`.
    ///
    /// # Errors
    /// What kept it from being presented this way; the other ways may still work.
    fn register<'a>(&'a self, own: &'a Own) -> Pending<'a, io::Result<()>>;

    /// Takes the name back.
    fn withdraw(&self) -> Pending<'_, ()>;

    /// Looks for `app` and keeps looking from now on. Never empty: "nobody" is an error.
    ///
    /// # Errors
    /// The answer in a few words, for the message to the client.
    fn resolve<'a>(&'a self, app: &'a AppRef) -> Pending<'a, Result<Vec<SocketAddr>, String>>;

    /// What is known of `app` now, without asking anybody.
    fn known(&self, app: &AppRef) -> Vec<SocketAddr>;

    /// Counts up whenever something that was asked for may have changed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// A call to this address failed: what is known of it may be over. Nothing to do for ways that cannot tell.
    fn doubt(&self, _app: &AppRef, _address: SocketAddr) {}
}
