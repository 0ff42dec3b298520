use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of workflows. There are none yet.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}
