//! Compiles `proto/` for `crates/platform/contracts`, in Rust alone: nobody installs protoc.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let proto = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../../proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", proto.display());

    let mut files = Vec::new();
    find_protos(&proto.join("malha"), &mut files)?;
    files.sort();

    // The encoded form keeps the options that prost's types do not know: routes and policies.
    let mut compiler = protox::Compiler::new([&proto])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let descriptors = out.join("descriptors.bin");
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;

    let mut own = compiler.file_descriptor_set();
    own.file.retain(|file| file.package() != "buf.validate");
    // Messages know their names: an event's says what is registered of it.
    let mut messages = tonic_prost_build::Config::new();
    messages.enable_type_names();
    tonic_prost_build::configure()
        .include_file("contracts.rs")
        // A test's stand-in for a service implements what it is asked. That the services implement
        // everything is a test of the whole mesh.
        .generate_default_stubs(true)
        .codec_path("crate::codec::Codec")
        // Taken out of the message as it arrived, not copied.
        .bytes(".malha.ledger.v1.CreateTransfersRequest")
        // Keys ascending, as the journal keeps them.
        .btree_map(".malha.ledger.v1")
        .compile_fds_with_config(own, messages)?;
    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_path(&descriptors)?
        .fail_on_runtime_only(true)
        .compile()?;
    Ok(())
}

fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}
