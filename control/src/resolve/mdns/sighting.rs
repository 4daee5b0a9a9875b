//! What a received packet tells about the sidecars of an app (spec/resolution 1.2.5, corrections 44, vectors `mdns/accept/…`).
//!
//! daprd takes an instance only when one packet holds its SRV, its TXT with the app id in front, and an address record whose owner is
//! the SRV target to the letter. Header flags, the response code, the section and the source port do not matter. Two differences on
//! purpose: a goodbye counts at once, and IPv6 addresses are usable.

use super::packet::text;
use simple_dns::rdata::{RData, TXT};
use simple_dns::{Packet, ResourceRecord};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One instance of an app, seen or leaving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The instance's name, which tells several of one app apart.
    pub instance: String,
    /// Where its mesh port listens.
    pub address: SocketAddr,
    /// A goodbye: lifetime 0.
    pub gone: bool,
}

/// The instances of `app_id` that the packet speaks of; nothing for bytes that are no DNS.
pub(super) fn sightings(app_id: &str, received: &[u8]) -> Vec<Sighting> {
    let Ok(packet) = Packet::parse(received) else { return Vec::new() };
    let records: Vec<&ResourceRecord<'_>> =
        packet.answers.iter().chain(&packet.name_servers).chain(&packet.additional_records).collect();
    // a probe speaks of itself in the authority section, without an address: it never makes a sighting
    records.iter().filter_map(|r| sighting(app_id, r, &records)).collect()
}

fn sighting(app_id: &str, record: &ResourceRecord<'_>, all: &[&ResourceRecord<'_>]) -> Option<Sighting> {
    let RData::SRV(srv) = &record.rdata else { return None };
    let instance = text(&record.name);
    if !instance.strip_suffix(".local")?.strip_suffix(app_id)?.ends_with('.') {
        return None;
    }
    if !all.iter().any(|r| text(&r.name) == instance && names_app(r, app_id)) {
        return None;
    }
    let ip = address(&text(&srv.target), all)?;
    Some(Sighting { instance, address: SocketAddr::new(ip, srv.port), gone: record.ttl == 0 })
}

/// Whether a TXT record's first string is the app id.
fn names_app(record: &ResourceRecord<'_>, app_id: &str) -> bool {
    let RData::TXT(txt) = &record.rdata else { return false };
    first_string(txt).is_some_and(|s| s == app_id.as_bytes())
}

fn first_string(txt: &TXT<'_>) -> Option<Vec<u8>> {
    let (key, value) = txt.iter_raw().next()?;
    let mut first = key.to_vec();
    if let Some(value) = value {
        first.push(b'=');
        first.extend_from_slice(value);
    }
    Some(first)
}

/// The target's address; IPv4 is preferred, as daprd's cache prefers it.
fn address(target: &str, all: &[&ResourceRecord<'_>]) -> Option<IpAddr> {
    let of_target = || all.iter().filter(|r| text(&r.name) == target);
    let v4 = of_target().find_map(|r| match &r.rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
        _ => None,
    });
    v4.or_else(|| {
        of_target().find_map(|r| match &r.rdata {
            RData::AAAA(a) => Some(IpAddr::V6(Ipv6Addr::from(a.address))),
            _ => None,
        })
    })
}

/// The app ids that the packet's SRV records may belong to: what stands before `.local` in their names.
pub(super) fn apps(received: &[u8]) -> Vec<String> {
    let Ok(packet) = Packet::parse(received) else { return Vec::new() };
    let records = packet.answers.iter().chain(&packet.name_servers).chain(&packet.additional_records);
    let mut found: Vec<String> = records.filter_map(app_of).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// `HOST:PID.APP.local`: the last label before `local`, as an app id holds no dot.
fn app_of(record: &ResourceRecord<'_>) -> Option<String> {
    let RData::SRV(_) = &record.rdata else { return None };
    let name = text(&record.name);
    name.strip_suffix(".local")?.rsplit('.').next().map(str::to_owned)
}
