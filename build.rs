//! Compiles the protocol without protoc, and keeps the descriptor set for reflection and JSON.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-env-changed=MODEL_CONTROL_BUILD");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files([
        "ichat/modelcontrol/v1/model_control_service.proto",
        "ichat/modelcontrol/v1/operations_service.proto",
        "grpc/health/v1/health.proto",
    ])?;
    // `file_descriptor_set_path` is written only when protoc runs: write the bytes here.
    // Comments stay out of the binary: reflection clients show names and types.
    let full = compiler.file_descriptor_set();
    let mut bare = full.clone();
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(
        out.join("descriptors.bin"),
        protox::prost::Message::encode_to_vec(&bare),
    )?;
    tonic_prost_build::configure().bytes(".").compile_fds(full)?;

    // The revision is given by whoever builds a release; a plain build has none to tell.
    let build = env::var("MODEL_CONTROL_BUILD").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo:rustc-env=MODEL_CONTROL_BUILD={build}");
    Ok(())
}
