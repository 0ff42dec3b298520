//! The comments of the contracts.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor};

/// Leading comments by file and path in the file.
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    /// All comments of `pool`.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
            for location in &info.location {
                if let Some(text) = &location.leading_comments {
                    let key = (file.name().to_owned(), location.path.clone());
                    comments.insert(key, tidy(text));
                }
            }
        }
        Self(comments)
    }

    /// The comment of what is at `path` in `file`.
    pub(super) fn of_path(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.0.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }

    /// The comment of a message.
    pub(super) fn of_message(&self, message: &MessageDescriptor) -> &str {
        self.of_path(&message.parent_file(), message.path())
    }
}

/// Without the space that follows each `//`.
fn tidy(text: &str) -> String {
    let lines = text.trim_end().lines();
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
