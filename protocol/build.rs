//! Compiles the .proto files without `protoc`, and only when the feature `grpc` asks for it.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    if std::env::var_os("CARGO_FEATURE_GRPC").is_none() {
        return Ok(());
    }
    let files = protox::compile(["proto/log.proto", "proto/query.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    // Server reflection answers with the descriptors themselves.
    std::fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // Payloads are slices of the received message, not copies.
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
