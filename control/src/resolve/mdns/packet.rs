//! The packets of a responder in daprd's shape (spec/resolution 1.2.2–1.2.4, vectors `mdns/register`, `mdns/goodbye`, `mdns/ask/…`).
//!
//! daprd uses DNS-SD's records but the app id itself is the service type: no `_tcp`, no `_dapr`. Names compare exactly, case included.

use simple_dns::rdata::{A, AAAA, PTR, RData, SRV, TXT};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, ResourceRecord, SimpleDnsError, TYPE};
use std::net::IpAddr;

/// Lifetime of SRV, TXT and PTR records, seconds.
pub(super) const SERVICE_TTL: u32 = 3200;
/// Lifetime of address records, seconds.
pub(super) const ADDRESS_TTL: u32 = 120;
const META: &str = "_services._dns-sd._udp.local";

/// One sidecar as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The app id: the service type.
    pub app_id: String,
    /// The operating system's host name.
    pub host: String,
    /// Tells several sidecars of one host apart.
    pub pid: u32,
    /// Port of the mesh hop.
    pub port: u16,
    /// The advertised address.
    pub address: IpAddr,
}

/// An answer and the way it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// To the asking socket instead of the group (the question's unicast-response bit).
    pub unicast: bool,
}

/// The records of one instance, as text, so that packets can borrow them.
struct Names {
    service: String,
    instance: String,
    host: String,
}

impl Names {
    fn of(it: &Instance) -> Names {
        Names {
            service: format!("{}.local", it.app_id),
            instance: format!("{}.{}.local", format!("{}:{}", it.host, it.pid).trim_matches('.'), it.app_id),
            host: format!("{}.local", it.host),
        }
    }
}

fn record<'a>(
    name: &'a str,
    ttl: u32,
    flush: bool,
    data: RData<'a>,
) -> Result<ResourceRecord<'a>, SimpleDnsError> {
    Ok(ResourceRecord::new(Name::new(name)?, CLASS::IN, ttl, data).with_cache_flush(flush))
}

fn srv<'a>(
    it: &Instance,
    names: &'a Names,
    ttl: u32,
    flush: bool,
) -> Result<ResourceRecord<'a>, SimpleDnsError> {
    let data = SRV { priority: 0, weight: 0, port: it.port, target: Name::new(&names.host)? };
    record(&names.instance, ttl, flush, RData::SRV(data))
}

fn txt<'a>(
    it: &'a Instance,
    names: &'a Names,
    ttl: u32,
    flush: bool,
) -> Result<ResourceRecord<'a>, SimpleDnsError> {
    record(&names.instance, ttl, flush, RData::TXT(TXT::new().with_string(&it.app_id)?))
}

fn ptr<'a>(from: &'a str, to: &'a str, ttl: u32) -> Result<ResourceRecord<'a>, SimpleDnsError> {
    record(from, ttl, false, RData::PTR(PTR(Name::new(to)?)))
}

fn address<'a>(
    it: &Instance,
    names: &'a Names,
    ttl: u32,
    flush: bool,
) -> Result<ResourceRecord<'a>, SimpleDnsError> {
    let data = match it.address {
        IpAddr::V4(a) => RData::A(A { address: a.into() }),
        IpAddr::V6(a) => RData::AAAA(AAAA { address: a.into() }),
    };
    record(&names.host, ttl, flush, data)
}

/// Every record of the instance: what an announcement and an answer to the instance name carry.
fn all<'a>(
    it: &'a Instance,
    names: &'a Names,
    ttl: u32,
    address_ttl: u32,
    flush_address: bool,
) -> Result<Vec<ResourceRecord<'a>>, SimpleDnsError> {
    Ok(vec![
        srv(it, names, ttl, true)?,
        txt(it, names, ttl, true)?,
        ptr(&names.service, &names.instance, ttl)?,
        ptr(META, &names.service, ttl)?,
        address(it, names, address_ttl, flush_address)?,
    ])
}

/// The probe that precedes an announcement. daprd detects no conflicts; neither do we.
pub(super) fn probe(it: &Instance, id: u16) -> Result<Vec<u8>, SimpleDnsError> {
    let names = Names::of(it);
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(
        Name::new(&names.instance)?,
        TYPE::PTR.into(),
        CLASS::IN.into(),
        false,
    ));
    packet.name_servers = vec![srv(it, &names, SERVICE_TTL, false)?, txt(it, &names, SERVICE_TTL, false)?];
    packet.build_bytes_vec()
}

/// "Here I am", sent unasked.
pub(super) fn announcement(it: &Instance) -> Result<Vec<u8>, SimpleDnsError> {
    let names = Names::of(it);
    let mut packet = Packet::new_reply(0);
    packet.answers = all(it, &names, SERVICE_TTL, ADDRESS_TTL, true)?;
    packet.build_bytes_vec_compressed()
}

/// "I am gone": the announcement with lifetimes of 0.
pub(super) fn goodbye(it: &Instance) -> Result<Vec<u8>, SimpleDnsError> {
    let names = Names::of(it);
    let mut packet = Packet::new_reply(0);
    packet.answers = all(it, &names, 0, 0, true)?;
    packet.build_bytes_vec()
}

/// "Who serves this app?"
pub(super) fn question(app_id: &str, id: u16) -> Result<Vec<u8>, SimpleDnsError> {
    let service = format!("{app_id}.local");
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(Name::new(&service)?, TYPE::PTR.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec()
}

/// What `it` answers to a received packet: one reply a question, none to bytes that are no DNS, to packets with an authority
/// section (other sidecars' probes) and to questions about others.
pub(super) fn replies(it: &Instance, received: &[u8]) -> Vec<Reply> {
    let Ok(asked) = Packet::parse(received) else { return Vec::new() };
    if !asked.name_servers.is_empty() {
        return Vec::new();
    }
    let names = Names::of(it);
    let answer = |q: &Question<'_>| reply(it, &names, &asked, q).ok().flatten();
    asked
        .questions
        .iter()
        .filter_map(|q| Some(Reply { bytes: answer(q)?, unicast: q.unicast_response }))
        .collect()
}

fn reply(
    it: &Instance,
    names: &Names,
    asked: &Packet<'_>,
    question: &Question<'_>,
) -> Result<Option<Vec<u8>>, SimpleDnsError> {
    let mut packet = Packet::new_reply(asked.id());
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    let name = text(&question.qname);
    if name == names.service {
        if is_known(names, &asked.answers) {
            return Ok(None);
        }
        packet.answers = vec![ptr(&names.service, &names.instance, SERVICE_TTL)?];
        packet.additional_records = vec![
            srv(it, names, SERVICE_TTL, false)?,
            txt(it, names, SERVICE_TTL, false)?,
            address(it, names, ADDRESS_TTL, false)?,
        ];
    } else if name == names.instance {
        packet.answers = all(it, names, SERVICE_TTL, ADDRESS_TTL, false)?;
    } else if name == META {
        packet.answers = vec![ptr(META, &names.service, SERVICE_TTL)?];
    } else {
        return Ok(None);
    }
    packet.build_bytes_vec_compressed().map(Some)
}

/// Known-answer suppression (RFC 6762 §7.1): the asker has our PTR with at least half its life left.
fn is_known(names: &Names, known: &[ResourceRecord<'_>]) -> bool {
    known.iter().any(|r| match &r.rdata {
        RData::PTR(to) => r.ttl >= SERVICE_TTL / 2 && text(to) == names.instance,
        _ => false,
    })
}

/// A name as its labels joined by dots, without the final one. Not-UTF-8 becomes a replacement character and so matches nothing of ours.
pub(super) fn text(name: &Name<'_>) -> String {
    let labels: Vec<_> = name.as_bytes().map(String::from_utf8_lossy).collect();
    labels.join(".")
}
