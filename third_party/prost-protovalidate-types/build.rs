//! Malha's one change to this crate: protox compiles the schema, so that nobody installs
//! protoc. The schema is the copy under `proto/` at the root of the repository.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let include = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let file = include.join("buf/validate/validate.proto");
    println!("cargo::rerun-if-changed={}", file.display());

    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("file_descriptor_set.bin");
    let mut compiler = protox::Compiler::new([&include])?;
    compiler.include_imports(true).include_source_info(true).open_file(&file)?;
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;

    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    prost_reflect_build::Builder::new()
        .file_descriptor_set_path(&descriptors)
        .descriptor_pool("DESCRIPTOR_POOL")
        .compile_protos_with_config(config, &[file], &[include])?;
    Ok(())
}
