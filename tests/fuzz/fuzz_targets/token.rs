//! What requests show to `middleware.http.bearer`: nothing is taken whose signature is not good, whatever it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::grpc::base64;
use proto::policy::pipeline::keys::{Material, VerifyKey};
use proto::policy::pipeline::rate::Rate;
use proto::policy::pipeline::{Bearer, Called, LARGEST_TOKEN, Means, Middleware, Pipeline, Shown, Signed};
use std::cell::Cell;
use std::sync::OnceLock;

/// Says of every signature what it is told to.
struct World {
    good: bool,
    asked: Cell<bool>,
}

impl Means for World {
    fn take(&self, _handler: usize, _rate: Rate, _path: &str) -> Option<u32> {
        None
    }

    fn now(&self) -> u64 {
        1_800_000_000
    }

    fn verifies(&self, signed: Signed<'_>) -> bool {
        assert!(signed.key.takes(signed.algorithm) && signed.message.len() <= LARGEST_TOKEN);
        self.asked.set(true);
        self.good
    }
}

fn pipeline() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let key = VerifyKey { id: "k".into(), algorithm: None, material: Material::Ed25519(vec![0; 32]) };
        let bearer = Bearer { issuer: "i".into(), audience: "a".into(), keys: Some([key].into()) };
        Pipeline::new(vec![Middleware::Bearer(bearer)]).expect("a handler")
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(decoded) = base64::decode_url_exactly(bytes) {
        assert!(decoded.len() <= bytes.len());
    }
    for good in [false, true] {
        let world = World { good, asked: Cell::new(false) };
        let called = Called { path: "/", query: "", shown: Shown::One(bytes) };
        let passed = pipeline().run(&called, &world);
        assert!(passed.refusal.is_some() || (good && world.asked.get()));
    }
});
