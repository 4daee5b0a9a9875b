use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A directory of its own for a test, removed at the end.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("outrigger-ca-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn files(&self) -> [String; 3] {
        ["ca.crt", "issuer.crt", "issuer.key"].map(|name| fs::read_to_string(self.path(name)).unwrap())
    }

    fn write(&self, files: [&str; 3]) {
        for (name, text) in ["ca.crt", "issuer.crt", "issuer.key"].into_iter().zip(files) {
            fs::write(self.path(name), text).unwrap();
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(super) fn id(app_id: &str) -> SpiffeId {
    SpiffeId::new("public", "default", app_id).unwrap()
}

fn load_error(folder: &Folder) -> String {
    Authority::load(&folder.0).unwrap_err().to_string()
}

/// A root or issuer in PEM, valid from and to so many seconds from now.
fn certificate(name: &str, key: &KeyPair, by: Option<&Issuer<'_, KeyPair>>, valid: (i64, i64)) -> String {
    let params = ca_params(name, valid);
    match by {
        Some(issuer) => params.signed_by(key, issuer).unwrap().pem(),
        None => params.self_signed(key).unwrap().pem(),
    }
}

fn ca_params(name: &str, valid: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.not_before, params.not_after) =
        (moment(unix_now() + valid.0).unwrap(), moment(unix_now() + valid.1).unwrap());
    params
}

const HOUR: i64 = 3600;
const GOOD: (i64, i64) = (-HOUR, HOUR);

#[test]
fn an_empty_directory_is_filled_privately_and_then_kept() {
    let folder = Folder::new();
    let dir = folder.path("state/ca");
    let first = Authority::load_or_make(&dir).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for name in ["ca.crt", "issuer.crt", "issuer.key"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    let names = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, [".lock", "ca.crt", "issuer.crt", "issuer.key"]);
    let second = Authority::load_or_make(&dir).unwrap();
    assert_eq!((&first.chain, &first.anchors), (&second.chain, &second.anchors));
    assert_eq!(first.not_after(), second.not_after());
}

#[test]
fn a_directory_that_others_can_enter_is_made_private() {
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    Authority::load_or_make(&folder.0).unwrap();
    assert_eq!(fs::metadata(&folder.0).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn many_that_come_at_once_agree() {
    for _ in 0..5 {
        let folder = Folder::new();
        let dir = folder.path("ca");
        let comers: Vec<_> = (0..8)
            .map(|_| {
                let dir = dir.clone();
                std::thread::spawn(move || Authority::load_or_make(&dir).unwrap().anchors)
            })
            .collect();
        let anchors: Vec<_> = comers.into_iter().map(|c| c.join().unwrap()).collect();
        assert!(anchors.iter().all(|a| *a == anchors[0]));
    }
}

#[test]
fn a_part_of_an_authority_is_neither_used_nor_overwritten() {
    let folder = Folder::new();
    Authority::load_or_make(&folder.0).unwrap();
    let [anchors, issuer, _] = folder.files();
    fs::remove_file(folder.path("issuer.key")).unwrap();
    let error = Authority::load_or_make(&folder.0).unwrap_err().to_string();
    assert!(error.contains("issuer.key missing") && error.contains("only a part"), "{error}");
    assert_eq!(fs::read_to_string(folder.path("ca.crt")).unwrap(), anchors);
    assert_eq!(fs::read_to_string(folder.path("issuer.crt")).unwrap(), issuer);
}

#[test]
fn a_crash_at_any_point_of_filling_leaves_something_that_works() {
    let folder = Folder::new();
    Authority::load_or_make(&folder.0).unwrap();
    let files = folder.files();
    let names = ["ca.crt", "issuer.crt", "issuer.key"];
    for renamed in 0..3 {
        for name in &names[renamed..] {
            fs::rename(folder.path(name), folder.path(&format!(".{name}.new"))).unwrap();
        }
        Authority::load_or_make(&folder.0).unwrap();
        let same = folder.files() == files;
        assert_eq!(same, renamed > 0, "before the first renaming the files are made anew");
        folder.write([&files[0], &files[1], &files[2]]);
    }
}

#[test]
fn without_files_nothing_is_made_where_they_must_exist() {
    let folder = Folder::new();
    let error = load_error(&folder);
    assert!(error.ends_with("has no ca.crt, no issuer.crt, no issuer.key"), "{error}");
    assert!(fs::read_dir(&folder.0).unwrap().next().is_none());
}

#[test]
fn files_that_do_not_belong_together_are_refused_by_name() {
    let (one, two, mixed) = (Folder::new(), Folder::new(), Folder::new());
    Authority::load_or_make(&one.0).unwrap();
    Authority::load_or_make(&two.0).unwrap();
    let ([a1, i1, k1], [a2, i2, k2]) = (one.files(), two.files());
    let cases = [
        (
            [&a2, &i1, &k1],
            "issuer.crt: O=spiffe://localhost/ns/default/dapr-sentry is not signed by a trust anchor",
        ),
        ([&a1, &i1, &k2], "issuer.key: does not belong to the certificate in issuer.crt"),
        (
            [&i1, &i1, &k1],
            "ca.crt: the trust anchor O=spiffe://localhost/ns/default/dapr-sentry is not self-signed",
        ),
        ([&a1, &a1, &k1], "issuer.crt: there is no issuer besides the trust anchor"),
        ([&a1, &k1, &k1], "issuer.crt: holds a \"PRIVATE KEY\" block; expected certificates only"),
        ([&a1, &i1, &i1], "issuer.key: holds a \"CERTIFICATE\" block; expected a PRIVATE KEY"),
        ([&String::new(), &i1, &k1], "ca.crt: holds no certificate"),
        ([&a1, &i1, &String::new()], "issuer.key: holds 0 PEM blocks; expected one private key"),
        ([&a1, &i1.replace("MII", "AAA").replace("MIIB", "AAAA"), &k1], "issuer.crt: "),
    ];
    for (files, why) in cases {
        mixed.write(files.map(String::as_str));
        let error = load_error(&mixed);
        assert!(error.contains(why), "{error}\nexpected {why}");
    }
    mixed.write([&format!("{a2}{a1}"), &format!("{i1}{a1}"), &k1]);
    let authority = Authority::load(&mixed.0).unwrap();
    assert_eq!((authority.anchors.len(), authority.chain.len()), (2, 1), "the root is not presented");
    mixed.write([&format!("{a2}{a1}"), &i2, &k2]);
    Authority::load(&mixed.0).unwrap();
}

#[test]
fn expired_and_early_issuers_and_roots_are_refused() {
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let load = |root_valid, issuer_valid| {
        let folder = Folder::new();
        let root = Issuer::new(ca_params("root", root_valid), &root_key);
        let anchors = ca_params("root", root_valid).self_signed(&root_key).unwrap().pem();
        let issuer = ca_params("issuer", issuer_valid).signed_by(&key, &root).unwrap().pem();
        folder.write([&anchors, &issuer, &key.serialize_pem()]);
        Authority::load(&folder.0).map_err(|e| e.to_string())
    };
    assert!(load(GOOD, GOOD).is_ok());
    let error = load(GOOD, (-HOUR, -100)).unwrap_err();
    assert!(error.contains("issuer.crt: O=issuer has expired 10"), "{error}");
    let error = load((-HOUR, -100), GOOD).unwrap_err();
    assert!(error.contains("its trust anchor O=root has expired"), "{error}");
    let error = load(GOOD, (100, HOUR)).unwrap_err();
    assert!(error.contains("becomes valid only in"), "{error}");
}

#[test]
fn a_longer_chain_is_presented_whole_and_in_order() {
    let (folder, root_key, upper_key, key) = (
        Folder::new(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
        KeyPair::generate().unwrap(),
    );
    let anchors = certificate("root", &root_key, None, GOOD);
    let root = Issuer::new(ca_params("root", GOOD), root_key);
    let upper_pem = certificate("upper", &upper_key, Some(&root), GOOD);
    let upper = Issuer::new(ca_params("upper", GOOD), upper_key);
    let lower_pem = certificate("lower", &key, Some(&upper), GOOD);
    folder.write([&anchors, &format!("{lower_pem}{upper_pem}"), &key.serialize_pem()]);
    let material = Authority::load(&folder.0).unwrap().issue(&id("a"), Lifetime::default()).unwrap();
    assert_eq!(material.chain.len(), 3);
    folder.write([&anchors, &format!("{upper_pem}{lower_pem}"), &key.serialize_pem()]);
    assert!(load_error(&folder).contains("issuer.key: does not belong"));
    let stray = certificate("stray", &key, None, GOOD);
    folder.write([&anchors, &format!("{lower_pem}{stray}{upper_pem}"), &key.serialize_pem()]);
    assert!(load_error(&folder).contains("O=lower is not signed by the certificate that follows it"));
}

#[test]
fn a_leaf_has_daprds_profile() {
    // vectors/mtls port/server-certificate
    let folder = Folder::new();
    let authority = Authority::load_or_make(&folder.0).unwrap();
    let lifetime = Lifetime { forward: Duration::from_secs(3600), backdated: Duration::from_secs(600) };
    let material = authority.issue(&id("orders"), lifetime).unwrap();
    let (_, leaf) = X509Certificate::from_der(&material.chain[0]).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://public/ns/default/orders")]);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.flags == 1);
    let extended = leaf.extended_key_usage().unwrap().unwrap();
    assert!(!extended.critical && extended.value.server_auth && extended.value.client_auth);
    assert!(leaf.basic_constraints().unwrap().is_none());
    let oids = leaf.extensions().iter().map(|e| e.oid.to_id_string());
    let mut oids: Vec<_> = oids.collect();
    oids.sort();
    assert_eq!(oids, ["2.5.29.15", "2.5.29.17", "2.5.29.35", "2.5.29.37"]);
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    assert_eq!((to - from, to), (4200, material.not_after));
    assert!((unix_now() - from - 600).abs() <= 2);
    assert_eq!(leaf.signature_algorithm.algorithm.to_id_string(), "1.3.101.112");
    assert!(leaf.raw_serial().len() <= 17);
    let (_, issuer) = X509Certificate::from_der(&material.chain[1]).unwrap();
    assert!(leaf.verify_signature(Some(issuer.public_key())).is_ok());
}

#[test]
fn two_leaves_have_different_keys_and_serials() {
    let folder = Folder::new();
    let authority = Authority::load_or_make(&folder.0).unwrap();
    let issue = || authority.issue(&id("a"), Lifetime::default()).unwrap();
    let (one, two) = (issue(), issue());
    assert_ne!(one.key, two.key);
    let serial =
        |m: &IdentityMaterial| X509Certificate::from_der(&m.chain[0]).unwrap().1.raw_serial().to_vec();
    assert_ne!(serial(&one), serial(&two));
}

#[test]
fn a_leaf_does_not_outlive_its_issuer() {
    let folder = Folder::new();
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let anchors = certificate("root", &root_key, None, (-HOUR, 2 * HOUR));
    let root = Issuer::new(ca_params("root", GOOD), root_key);
    let issuer = certificate("issuer", &key, Some(&root), GOOD);
    folder.write([&anchors, &issuer, &key.serialize_pem()]);
    let authority = Authority::load(&folder.0).unwrap();
    let material = authority.issue(&id("a"), Lifetime::of(Duration::from_secs(86400))).unwrap();
    assert_eq!(material.not_after, authority.not_after());
    assert!((material.not_after - unix_now() - HOUR).abs() <= 2);
}

#[test]
fn names_of_the_control_plane_are_refused() {
    let folder = Folder::new();
    let authority = Authority::load_or_make(&folder.0).unwrap();
    for name in CONTROL_PLANE {
        let error = authority.issue(&id(name), Lifetime::default()).unwrap_err();
        assert!(error.to_string().contains("control plane"));
    }
}

#[test]
fn short_lives_are_back_dated_less() {
    let seconds = Duration::from_secs;
    assert_eq!(Lifetime::default(), Lifetime { forward: seconds(86400), backdated: seconds(900) });
    assert_eq!(Lifetime::of(seconds(10)).backdated, seconds(2));
}
