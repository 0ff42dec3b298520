//! Compiles the contract of the service that stands behind the gateways under measure.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto", "../proto"])?;
    compiler.include_imports(true).open_file("shop/v1/orders.proto")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("shop.bin"), compiler.encode_file_descriptor_set())?;
    let mut own = compiler.file_descriptor_set();
    own.file.retain(|file| file.package() != "google.api");
    tonic_prost_build::configure().build_client(false).compile_fds(own)?;
    Ok(())
}
