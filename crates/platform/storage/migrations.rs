//! Build script of the crates with migrations. `sqlx::migrate!` reads the folder when its crate is
//! compiled; a file added later would be missed until something else of the crate changed.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
