//! A responder that leads app ids to ports, in the record shape that daprd sends (recordings `mdns/register`).

use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
const PTR: u16 = 12;

/// Answers questions for its names until it is dropped.
pub struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Leads each app id to its port at 127.0.0.1. Call it inside a namespace of the test's own.
    pub fn start(names: HashMap<String, u16>) -> Responder {
        let socket = multicast_socket();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || answer(&socket, &names, &stopped));
        Responder { stop, thread: Some(thread) }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().expect("it is joined once").join();
    }
}

fn multicast_socket() -> UdpSocket {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).expect("a UDP socket");
    socket.set_reuse_address(true).expect("a shared address");
    socket.set_reuse_port(true).expect("a shared port");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.port())).into()).expect("the mDNS port");
    let socket = UdpSocket::from(socket);
    socket.join_multicast_v4(GROUP.ip(), &Ipv4Addr::LOCALHOST).expect("the mDNS group");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a read timeout");
    socket
}

fn answer(socket: &UdpSocket, names: &HashMap<String, u16>, stopped: &AtomicBool) {
    let mut packet = [0; 9000];
    while !stopped.load(Ordering::Relaxed) {
        let Ok((length, _)) = socket.recv_from(&mut packet) else { continue };
        for id in asked(&packet[..length]) {
            if let Some(&port) = names.get(&id) {
                let _ = socket.send_to(&records(&id, port), GROUP);
            }
        }
    }
}

/// The app ids a packet asks for: PTR questions of the form `<id>.local.`.
fn asked(packet: &[u8]) -> Vec<String> {
    let is_question = packet.len() > 12 && packet[2] & 0x80 == 0;
    if !is_question {
        return Vec::new();
    }
    let mut at = 12;
    let mut ids = Vec::new();
    for _ in 0..u16::from_be_bytes([packet[4], packet[5]]) {
        let Some((labels, next)) = name(packet, at) else { break };
        let Some(kind) = packet.get(next..next + 2) else { break };
        at = next + 4;
        if kind == PTR.to_be_bytes() && labels.last().is_some_and(|l| l == "local") {
            ids.push(labels[..labels.len() - 1].join("."));
        }
    }
    ids
}

/// An uncompressed name and where it ends.
fn name(packet: &[u8], mut at: usize) -> Option<(Vec<String>, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        if length == 0 {
            return Some((labels, at + 1));
        }
        let label = packet.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + length;
    }
}

fn records(id: &str, port: u16) -> Vec<u8> {
    let service = format!("{id}.local");
    let instance = format!("rig:1.{service}");
    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 3];
    record(&mut packet, &service, PTR, &encoded(&instance));
    let mut service_data = vec![0, 0, 0, 0];
    service_data.extend(port.to_be_bytes());
    service_data.extend(encoded("rig-host.local"));
    record(&mut packet, &instance, 33, &service_data);
    let mut text = vec![id.len() as u8];
    text.extend(id.bytes());
    record(&mut packet, &instance, 16, &text);
    record(&mut packet, "rig-host.local", 1, &Ipv4Addr::LOCALHOST.octets());
    packet
}

fn record(packet: &mut Vec<u8>, name: &str, kind: u16, data: &[u8]) {
    packet.extend(encoded(name));
    packet.extend(kind.to_be_bytes());
    packet.extend(1u16.to_be_bytes());
    packet.extend(3200u32.to_be_bytes());
    packet.extend((data.len() as u16).to_be_bytes());
    packet.extend(data);
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_question_is_understood() {
        let question = [
            0xbb, 0xe8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6, b'g', b'v', b'-', b'n', b'o', b'1', 5, b'l', b'o',
            b'c', b'a', b'l', 0, 0, 12, 0, 1,
        ];
        assert_eq!(asked(&question), ["gv-no1"]);
    }

    #[test]
    fn an_answer_is_no_question() {
        assert!(asked(&records("app", 1)).is_empty());
    }
}
