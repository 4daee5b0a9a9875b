//! HPACK: no panic, bounded output, and what is decoded means the same when it is encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::http2::hpack::{Decoder, huffman};

type Fields = Vec<(Vec<u8>, Vec<u8>, bool)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Option<Fields> {
    let mut fields = Vec::new();
    let done = decoder.decode(block, |f| fields.push((f.name.to_vec(), f.value.to_vec(), f.never_indexed)));
    done.ok().map(|()| fields)
}

/// A literal without indexing, by hand.
fn literal(out: &mut Vec<u8>, (name, value, never): &(Vec<u8>, Vec<u8>, bool)) {
    out.push(if *never { 0x10 } else { 0 });
    for text in [name, value] {
        if text.len() < 127 {
            out.push(text.len() as u8);
        } else {
            let mut rest = text.len() - 127;
            out.push(0x7f);
            while rest >= 0x80 {
                out.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
        out.extend_from_slice(text);
    }
}

fuzz_target!(|bytes: &[u8]| {
    // several blocks on one connection: the table lives on
    let (mut decoder, mut twin) = (Decoder::default(), Decoder::default());
    for block in bytes.split_inclusive(|b| *b == 0xaa) {
        let Some(fields) = decode(&mut decoder, block) else { break };
        assert_eq!(decode(&mut twin, block).as_ref(), Some(&fields), "the same state, the same fields");
        let mut again = Vec::new();
        fields.iter().for_each(|field| literal(&mut again, field));
        assert_eq!(decode(&mut Decoder::default(), &again), Some(fields));
    }
    let mut text = Vec::new();
    if huffman::decode(bytes, &mut text).is_ok() {
        assert!(text.len() * 5 <= bytes.len() * 8);
        let mut coded = Vec::new();
        huffman::encode(&text, &mut coded);
        assert_eq!(coded, bytes, "there is one encoding");
    }
    let mut coded = Vec::new();
    huffman::encode(bytes, &mut coded);
    text.clear();
    assert!(huffman::decode(&coded, &mut text).is_ok() && text == bytes);
});
