//! Packets of multicast DNS: no panic, whoever sent them; what they show of an app is about that app.
#![no_main]

use control::resolve::mdns::{Instance, judge};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let own = Instance {
        app_id: "orders".to_owned(),
        host: "h".to_owned(),
        pid: 7,
        port: 50002,
        address: [127, 0, 0, 1].into(),
    };
    let heard = judge(&own, packet);
    for (app, instance) in &heard.instances {
        assert!(instance.ends_with(&format!(".{app}.local")) && !app.contains('.'), "{app} {instance}");
    }
    assert!(heard.answers.iter().all(|length| *length < 9000), "an answer fits into a packet");
});
