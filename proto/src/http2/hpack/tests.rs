use super::*;
use crate::rng::Rng;

type Fields = Vec<(String, String)>;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Fields, Violation> {
    let mut fields = vec![];
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    decoder.decode(block, |f| fields.push((text(f.name), text(f.value))))?;
    Ok(fields)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn check(decoder: &mut Decoder, block: &str, expected: &[(&str, &str)]) {
    let expected: Fields = expected.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
    assert_eq!(decode(decoder, &hex(block)).unwrap(), expected);
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];

fn second() -> Vec<(&'static str, &'static str)> {
    [&GET[..], &[("cache-control", "no-cache")]].concat()
}

const THIRD: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/index.html"),
    (":authority", "www.example.com"),
    ("custom-key", "custom-value"),
];

#[test]
fn the_fields_of_appendix_c2_are_decoded() {
    let mut d = Decoder::default();
    check(
        &mut d,
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &[("custom-key", "custom-header")],
    );
    check(&mut d, "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")]);
    check(&mut d, "82", &[(":method", "GET")]);
    let mut never = false;
    d.decode(&hex("1008 7061 7373 776f 7264 0673 6563 7265 74"), |f| never = f.never_indexed).unwrap();
    assert!(never);
    check(&mut d, "be", &[("custom-key", "custom-header")]);
}

#[test]
fn the_requests_of_appendix_c3_and_c4_are_decoded() {
    let plain = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    let coded = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    for blocks in [plain, coded] {
        let mut d = Decoder::default();
        check(&mut d, blocks[0], &GET);
        check(&mut d, blocks[1], &second());
        check(&mut d, blocks[2], &THIRD);
    }
}

#[test]
fn the_responses_of_appendix_c5_and_c6_are_decoded_in_a_table_of_256_bytes() {
    let plain = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
         474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
         7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
         6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    let coded = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
         e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ];
    let (date, later) = ("Mon, 21 Oct 2013 20:13:21 GMT", "Mon, 21 Oct 2013 20:13:22 GMT");
    let rest = [("cache-control", "private"), ("date", date), ("location", "https://www.example.com")];
    for blocks in [plain, coded] {
        let mut d = Decoder::default();
        assert_eq!(decode(&mut d, &hex("3fe101")).unwrap(), []); // a size update to 256
        check(&mut d, blocks[0], &[&[(":status", "302")], &rest[..]].concat());
        check(&mut d, blocks[1], &[&[(":status", "307")], &rest[..]].concat());
        check(
            &mut d,
            blocks[2],
            &[
                (":status", "200"),
                ("cache-control", "private"),
                ("date", later),
                ("location", "https://www.example.com"),
                ("content-encoding", "gzip"),
                ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
            ],
        );
    }
}

#[test]
fn size_updates_stand_at_the_beginning_and_stay_below_the_limit() {
    let mut d = Decoder::default();
    check(&mut d, "3fe11f 20 3fe11f 82", &[(":method", "GET")]); // 4096, 0, 4096
    assert!(decode(&mut Decoder::default(), &hex("3fe21f")).is_err(), "4097");
    assert!(decode(&mut Decoder::default(), &hex("8220")).is_err(), "behind a field");
}

#[test]
fn a_size_update_to_zero_forgets_the_entries() {
    let mut d = Decoder::default();
    check(&mut d, "4001 6101 62", &[("a", "b")]);
    check(&mut d, "be", &[("a", "b")]);
    assert!(decode(&mut d, &hex("20be")).is_err());
}

#[test]
fn broken_blocks_are_compression_errors() {
    for block in [
        "80",
        "ff00",
        "c0",
        "40",
        "4001",
        "400161",
        "40016105",
        "7f",
        "be",
        "00ff ffff ffff 7f",
        "0001 6182 ffff",
    ] {
        let error = decode(&mut Decoder::default(), &hex(block)).unwrap_err();
        assert_eq!(error.code, Code::COMPRESSION_ERROR, "{block}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(17);
    let mut d = Decoder::default();
    for _ in 0..20_000 {
        let block: Vec<u8> = (0..rng.below(60)).map(|_| rng.draw() as u8).collect();
        if d.decode(&block, |_| ()).is_err() {
            d = Decoder::default();
        }
    }
}

const REQUEST: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.Service/Call"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
];
const OTHER: [(&str, &str); 3] = [(":status", "200"), ("content-type", "application/grpc"), ("x-y", "z")];

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
}

#[test]
fn a_constant_block_becomes_a_few_bytes_and_means_the_same() {
    let (mut e, mut d) = (Encoder::default(), Decoder::default());
    let (a, b) = (e.register(&REQUEST), e.register(&OTHER));
    let mut sizes = vec![];
    for round in 0..6 {
        for (id, fields) in [(a, &REQUEST[..]), (b, &OTHER[..])] {
            let mut out = vec![];
            e.begin(&mut out);
            e.constant(id, &mut out);
            encode::literal(Literal::new("traceparent", b"00-x"), &mut out);
            sizes.push((round, fields.len(), out.len() - 18));
            let mut expected = owned(fields);
            expected.push(("traceparent".into(), "00-x".into()));
            assert_eq!(decode(&mut d, &out).unwrap(), expected);
        }
    }
    assert!(sizes.iter().filter(|s| s.0 > 1).all(|s| s.2 == s.1), "a byte a field: {sizes:?}");
}

#[test]
fn a_peer_with_a_smaller_table_gets_literals_behind_a_size_update() {
    let (mut e, mut d) = (Encoder::default(), Decoder::default());
    let a = e.register(&REQUEST);
    let block = |e: &mut Encoder| {
        let mut out = vec![];
        e.begin(&mut out);
        e.constant(a, &mut out);
        out
    };
    let first = block(&mut e);
    assert_eq!(decode(&mut d, &first).unwrap(), owned(&REQUEST));
    e.peer_table(4095);
    let second = block(&mut e);
    assert_eq!(second[0], 0x20, "the table is given up");
    assert_eq!(decode(&mut d, &second).unwrap(), owned(&REQUEST));
    let third = block(&mut e);
    assert_ne!(third[0], 0x20);
    assert_eq!(decode(&mut Decoder::default(), &third).unwrap(), owned(&REQUEST), "independent of any table");
}

#[test]
fn more_constants_than_the_table_holds_stay_literal() {
    let (mut e, mut d) = (Encoder::default(), Decoder::default());
    let long = "x".repeat(300);
    let names: Vec<String> = (0..20).map(|i| format!("name-{i}")).collect();
    let blocks: Vec<BlockId> = names.iter().map(|n| e.register(&[(n, &long)])).collect();
    for _ in 0..3 {
        for (name, id) in names.iter().zip(&blocks) {
            let mut out = vec![];
            e.constant(*id, &mut out);
            assert_eq!(decode(&mut d, &out).unwrap(), [(name.clone(), long.clone())]);
        }
    }
}

#[test]
fn a_field_that_must_not_be_indexed_stays_so() {
    let mut out = vec![];
    encode::literal(Literal { name: b"authorization", value: b"secret", never_indexed: true }, &mut out);
    let mut seen = None;
    Decoder::default().decode(&out, |f| seen = Some((f.value.to_vec(), f.never_indexed))).unwrap();
    assert_eq!(seen, Some((b"secret".to_vec(), true)));
}
