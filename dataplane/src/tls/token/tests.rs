use super::*;
use proto::policy::pipeline::keys::VerifyKey;

// Keys, and signatures of MESSAGE, made once with OpenSSL.
const MESSAGE: &[u8] = b"eyJhbGciOiJ4In0.e30";
const RSA_2048: &str = "\
    9b9024ea255ebab4e183c3af7bea2ef7bfc7043dac612e072cbaa8647659b76aeb0e3200be0e93e72b646348682083e6e2575a6de832c9\
    6f4a8abd263d2bc1f4c0af839f9b9184a647631dbbf84387af0838e992de4e6318c0e66417eb8c612959fb5ba738fa6ce271d1bf0fb236\
    2e9855682d8e11d59ab1b5b0470cf20aabef83368f4037105510afee071891dfe31e380baf0b588ff6ab41b5ca6a2e85967c172b81b6c6\
    b48ffb8cd451b35e50f4d8a88af4c3066259febf3ed214deda7af5eceeeef901375887c46ebdde5483da93bfa2e2c9ce144609cbabb40c\
    283b20cdac4950bb7f023a8bdd07bcfd7add8c7b4d612232a9475846ef5a58848cb565d5";
const P256: &str = "\
    04f9748f65753e9d41c0366dae2654bdca5e08c900d93fa9d28d62e6b661daab4502bfc6933d4868c91d588f2c0c5889f5a9ee653d105e\
    e702ea3f6f4f17d14fda";
const P384: &str = "\
    04283d542a7d83e0bd147577e28b3b2a156c3235d90b6d4528f58fd8cbb85b5cea66e30382d9c5f26fa4eb3c09a92e3912b1c899466779\
    ba6bb032c6bb2f7d3c7d5ad799a6901ea298738f725594969b478ac20c289238441c650d6b63b881a786";
const ED25519: &str = "\
    6fc79f8e327444c37bb389880bca664b91a9db8a3bf49a1116e3f46d45ffde80";
const SIGNATURES: [(Algorithm, &str); 9] = [
    (
        Algorithm::Rs256,
        "\
    837710c22a0c2a43f78b0661e5c34589c129df20d8ab36a3df7ae5a6d94554cd04c0a20f4dfe4bfc7041fb782ebe4a86bb0cc778a65acf\
    4c940ea9a437bab6b81809fe3e87004344eb72c8fa2ee88c2aaa0afde7b82798e70ee3c6146abaafcce2ab7cfa3aeb14a2013432205000\
    3ee46323706409c32b25fd2c74dbacb7e8333fdfcdbdf3718f21cf846a099ba1bfa5831a88231ec655f40871a3a00ca583e72ae566a9d1\
    22d1043bbd777ba58f9b330d9f49ac4ba83635d4f5c752d428bda3e50199740f953c69e69e03ef43d26e02632f94789fc48e03c5797b3d\
    5de3471655a1097c3f3d36cfad5d46f4151dd785d22a0229d3f8fdffa0b7dbca00e06c43",
    ),
    (
        Algorithm::Ps256,
        "\
    0e5101570813126ee3fcd9fd6e3a4ae2abfcda8ce021d1e80421585a8afb9d049d983045b740677db40dc59554933e1dd23151990963e0\
    fb8f24176e7bb51b4ac3fc6d02d0d023ecd720514e393912dfeeec87206f656e4944900d34625f010fb2124f235f4a58c03fa1c8795212\
    0e3d4b87cb41a075558532015ff70b264c4a2103ae92cc544bf80e310327c2d049762c09231c6331f9b87007eaa1cf38a84ad9b3b60227\
    e6ffc773db23cd6cbbd80055e5ff912d8c6192c8383c877ad412665f428dca3652144781f1dc18627e87ea830fddf50c574f008a0eb154\
    8b73452fc5aa2462b0916c47fd27203fb0c766c5cf50fb6f25e6b4730ec2a64e56942ba3",
    ),
    (
        Algorithm::Rs384,
        "\
    66521d014b40c517cf5b4b70c4fb54d6f85f2dbcadc4ec3719f971491e3359432f5d7bf11ff4fbb4575b2f7478c9ebf51252251f836395\
    a670bc7b0460c4d82f28dbe4e77eeb3961314d4207ef77cb6fca9202c3a48a2d2df629829e0b34c91ff8d46547feab085f71709917a82c\
    22d025d63370d292c9507d530267dce202dedcfb9aeafb2cbebe8457cb612cedbd748a5ec9e53f35bc7c0899ead86145f4a38a7c5d7986\
    7785e8bfe89a8f1c8906c0b354ea5ec2e1c102b7faa4546a27984936d3fede509d3011a4462b430f59d3deadda89ad23a30ea44e4a0a97\
    10708003b801d0fd905db4dc87398ecc709cfb98a615a912a4d75bc974896d23239fc836",
    ),
    (
        Algorithm::Ps384,
        "\
    19d40a017fdb93fd7def275c692ea7c64babfa98c14bb6812fa341f35ec14f6c1d693002e00618468eab275a66613365a70175bc82e5fd\
    4c323a0ec32925c9a6f949c41a01d5d53e51e44f93c9c40fc24a3deb1354083460dae2424bf2bc2dfc01abaf18855b8660f2a713b8b335\
    efb174b637e75e804268da9d7ef548aabab1826f6cac839001f962704423b917b5cbcf6d7965c6bc9713f05ed31f275288239176ae30aa\
    1ef53f9230406d43c1e5b6769e533a658a7ec8456bfbe56dc1d1a004f1e3294f58f632bb13f590f7df7b8eff63eeadb35b5447e6447b57\
    41c5faa6f2a2f5c22537ebb65a9c76dcce6d4ad426b1e592464c4588a94a3ee7d86f2921",
    ),
    (
        Algorithm::Rs512,
        "\
    4f3985c1d88421a0a5d7bc04fbc064be5ec76dfadc8847658d5f22096e55a6aedab404bcdf401e36ed0a62ccdfbf9220924b75f9da6feb\
    521a20d19600b34e1adc863caa6939cbcf3498b385eed95c574f2b1a5155a13342a39d022e1968258ced816f0325cc317bf22a35c41c3e\
    b43fd3679c18367b5dca2c766d818381e960fa58c468985401131573090dc0e977103cdec7f7b105bbc54df48a74426017375defe15c28\
    5a5a88c53057d850cc115aad0f18e7012e59dc55662171facecc5387f5c2fb32ae525cf038af69e48f02c238025d9fe300336c3c2b1e5b\
    d8bcfa7e529887c7c6b9d17d225deb8ef590b524f5b4fec71490dc5b270af7562e418b32",
    ),
    (
        Algorithm::Ps512,
        "\
    2f780c410108c4a7706ca8500d353aa4d5b3b97798208825b918a80dddc64591f0105dc1c043095e18a642fd9548abbf4e06b8c09cecf0\
    a7cf522d1f95140e2f4729bc8017e10f5c1b3b5eaaec1f3430c7d38cf4bd6ef3863592a53b81709b36faeb9f2197d9da2006a2cc0acc16\
    c63a4b31dc5910a593beaad580a59b1844473b32e9616398456876d6690e6ade636a7e45b68ad4fa1d43687721cb4629aa26e05ed727a3\
    f31eb49dd539f5d01ceda33be4d9efb2bc57082ca736201fb8a5e829bf35670049a7bf8894e584c05c4c5eeb9ce8b2a3062848369fcff1\
    ae6587b2973aa52f9daa365ead7fdedd7fbf963d559d161d4c7511045749b6448d7e4130",
    ),
    (
        Algorithm::Es256,
        "\
    079fbfbf73153b170fa3c690a5e4f04df085bb97883aef35d9f35bb44c2f9eae41a3b6e662d125d4a20640c1c9e526a4c9f9cd04f9303c\
    f4936fc63b9db8e380",
    ),
    (
        Algorithm::Es384,
        "\
    2b4bba41089087c2219944eb71e10d4cd5411f987f2ab34f4680e55f526e610272d3e8703cc0c74a186b7d23b8d20a52bb8cd3cad7019c\
    90d0a17227d1b6c789a7907dc0d25b1e4ae44064b24716f3aade0139a1df0f8a901e526b108b80255c",
    ),
    (
        Algorithm::EdDsa,
        "\
    e348c9273b7c5ccef735536d2155ecf7a97ea85ed5c3148f662cccbafec2ec8ad7616c46f117af642b34691d3afc2c399f2230185bd7a7\
    a1d92f3bd6bb7d2804",
    ),
];

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn keys() -> Vec<VerifyKey> {
    let rsa = Material::Rsa { modulus: bytes(RSA_2048), exponent: vec![1, 0, 1] };
    let others =
        [Material::P256(bytes(P256)), Material::P384(bytes(P384)), Material::Ed25519(bytes(ED25519))];
    let all = std::iter::once(rsa).chain(others);
    all.map(|material| VerifyKey { id: "k".into(), algorithm: None, material }).collect()
}

/// The keys that a signature is good with.
fn good(algorithm: Algorithm, message: &[u8], signature: &[u8]) -> usize {
    let keys = keys();
    keys.iter().filter(|key| verifies(Signed { algorithm, key, message, signature })).count()
}

#[test]
fn a_signature_is_good_with_its_key_and_its_algorithm_alone() {
    for (algorithm, signature) in SIGNATURES {
        let signature = bytes(signature);
        assert_eq!(good(algorithm, MESSAGE, &signature), 1, "{algorithm:?}");
        for (other, _) in SIGNATURES.iter().filter(|(other, _)| *other != algorithm) {
            assert_eq!(good(*other, MESSAGE, &signature), 0, "{algorithm:?} as {other:?}");
        }
    }
}

#[test]
fn a_signature_of_something_else_or_cut_is_bad() {
    for (algorithm, signature) in SIGNATURES {
        let mut signature = bytes(signature);
        assert_eq!(good(algorithm, b"eyJhbGciOiJ4In0.e3", &signature), 0, "{algorithm:?}");
        assert_eq!(good(algorithm, MESSAGE, &[]), 0, "{algorithm:?}");
        assert_eq!(good(algorithm, MESSAGE, &vec![0; signature.len()]), 0, "{algorithm:?}");
        signature.pop();
        assert_eq!(good(algorithm, MESSAGE, &signature), 0, "{algorithm:?}");
    }
}

#[test]
fn a_key_that_is_none_checks_nothing() {
    let material = [
        Material::Rsa { modulus: bytes(RSA_2048)[..128].to_vec(), exponent: vec![3] },
        Material::Rsa { modulus: vec![], exponent: vec![] },
        Material::P256(vec![4; 65]),
        Material::P384(bytes(P256)),
        Material::Ed25519(vec![1]),
    ];
    for material in material {
        let key = VerifyKey { id: "k".into(), algorithm: None, material };
        for (algorithm, signature) in SIGNATURES {
            let signature = bytes(signature);
            let signed = Signed { algorithm, key: &key, message: MESSAGE, signature: &signature };
            assert!(!verifies(signed), "{algorithm:?} {key:?}");
        }
    }
}
