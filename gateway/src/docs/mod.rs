//! The page for people: one file, nothing fetched from elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::pages::Kept;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page and the policy under which a browser shows it.
pub(crate) struct Docs {
    pub(crate) html: Kept,
    /// Admits the page's own style and script by their hashes, and calls to this edge alone.
    pub(crate) policy: HeaderValue,
}

impl Docs {
    /// Puts the page together.
    pub(crate) fn new() -> Self {
        let html = PAGE.replace("/*style*/", STYLE).replace("/*script*/", SCRIPT);
        let policy = format!(
            "default-src 'none'; connect-src 'self'; img-src data:; style-src '{}'; \
             script-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        #[expect(clippy::expect_used, reason = "hashes are ASCII")]
        let policy = HeaderValue::try_from(policy).expect("a policy is a header value");
        Self { html: Kept::new("text/html; charset=utf-8", html), policy }
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fetches_nothing_from_elsewhere() {
        let html = String::from_utf8_lossy(Docs::new().html.body()).into_owned();
        for elsewhere in ["http://", "https://", "src=", "@import", "<link"] {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
        assert!(html.contains(SCRIPT) && html.contains(STYLE));
    }
}
