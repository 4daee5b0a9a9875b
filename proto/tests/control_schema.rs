//! The generated code of `schema/control.proto` is what the schema says. `REGENERATE=1 cargo test -p proto --test
//! control_schema` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn generate() -> String {
    let mut compiler = protox::Compiler::new([here("schema")]).unwrap();
    compiler.include_source_info(true).open_file("control.proto").unwrap();
    let out = std::env::temp_dir().join(format!("outrigger-control-schema-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    prost_build::Config::new()
        .out_dir(&out)
        .boxed(".outrigger.control.v1.FromControl.message.snapshot")
        .skip_debug([
            ".outrigger.control.v1.AppChannel",
            ".outrigger.control.v1.Api",
            ".outrigger.control.v1.IdentityMaterial",
            ".outrigger.control.v1.HttpEndpoint",
            ".outrigger.control.v1.Header",
        ])
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();
    let text = std::fs::read_to_string(out.join("outrigger.control.v1.rs")).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    format(
        "//! Generated from `schema/control.proto` by `tests/control_schema.rs`; not edited by hand.\n\n"
            .to_owned()
            + &text,
    )
}

fn format(text: String) -> String {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(here("../rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt belongs to the toolchain of this project");
    rustfmt.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = rustfmt.wait_with_output().unwrap();
    assert!(out.status.success(), "rustfmt refuses the generated code");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_generated_code_is_what_the_schema_says() {
    let (generated, file) = (generate(), here("src/control/generated.rs"));
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&file, &generated).unwrap();
    }
    assert!(
        generated == std::fs::read_to_string(&file).unwrap_or_default(),
        "run it again with REGENERATE=1"
    );
}
