//! The test contracts of `tests/proto`, and the forms of Malha's options.

use std::path::PathBuf;
use std::sync::LazyLock;

use contracts::policy;
use http::Method;
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MethodDescriptor};
use transcoder::{
    FieldForm, Forms, HttpRule, Input, InputError, MessagePlan, Request, Router, Schema, Settings,
    Template,
};

/// Compiles a contract of `tests/proto` with its imports.
pub(crate) fn compile(file: &str) -> DescriptorPool {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folders = [own.join("tests/proto"), own.join("../../proto")];
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).open_file(file).unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

/// The contract with every corner of the transcoder.
pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| compile("corner.proto"));
    &POOL
}

/// Malha's options.
pub(crate) struct Options;

impl Forms for Options {
    fn field(&self, field: &FieldDescriptor) -> FieldForm {
        let policy = policy::of_field(field);
        FieldForm {
            number: policy.json_number,
            always_print: policy.always_print,
            sensitive: policy.sensitive,
        }
    }

    fn enum_prefix(&self, enumeration: &EnumDescriptor) -> Option<String> {
        let mut prefix = String::new();
        for (at, character) in enumeration.name().char_indices() {
            if at > 0 && character.is_ascii_uppercase() {
                prefix.push('_');
            }
            prefix.push(character.to_ascii_uppercase());
        }
        policy::of_enum(enumeration).json_unprefixed.then(|| prefix + "_")
    }
}

pub(crate) fn schema(settings: Settings) -> Schema {
    Schema::new(pool(), &Options, settings)
}

/// The plan of a message of the corner contract.
pub(crate) fn plan(name: &str) -> MessagePlan {
    schema(Settings::default()).message(&format!("malha.corner.v1.{name}")).unwrap()
}

/// All routes of a pool, with their requests.
pub(crate) struct Bench {
    pub(crate) schema: Schema,
    router: Router<(MethodDescriptor, Request)>,
}

impl Bench {
    pub(crate) fn corner() -> Self {
        Self::new(pool(), Settings::default())
    }

    pub(crate) fn malha() -> Self {
        Self::new(contracts::pool(), Settings::default())
    }

    pub(crate) fn new(pool: &DescriptorPool, settings: Settings) -> Self {
        let schema = Schema::new(pool, &Options, settings);
        let mut router = Router::default();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            for rule in HttpRule::of(&method).unwrap() {
                let request = Request::new(&schema, &method, &rule).unwrap();
                let template = Template::parse(&rule.template).unwrap();
                let inserted = router.insert(&template, rule.verb, (method.clone(), request));
                assert!(inserted.is_ok(), "{}", rule.template);
            }
        }
        Self { schema, router }
    }

    /// The message of a request, as bytes.
    pub(crate) fn wire(
        &self,
        method: &Method,
        target: &str,
        body: &str,
    ) -> Result<(MethodDescriptor, Vec<u8>), InputError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let found =
            self.router.find(method, path).unwrap_or_else(|miss| panic!("{target}: {miss:?}"));
        let (descriptor, request) = found.value;
        let mut wire = Vec::new();
        let input = Input {
            path: &found.captures,
            query,
            content_type: "application/json",
            body: body.as_bytes(),
        };
        request.encode(&input, &mut wire)?;
        Ok((descriptor.clone(), wire))
    }

    /// The message of a request, as JSON.
    pub(crate) fn request(
        &self,
        method: Method,
        target: &str,
        body: &str,
    ) -> Result<serde_json::Value, InputError> {
        let (descriptor, wire) = self.wire(&method, target, body)?;
        let mut json = Vec::new();
        let plan = self.schema.message(descriptor.input().full_name()).unwrap();
        plan.decode(&wire, &mut json).unwrap();
        Ok(serde_json::from_slice(&json).unwrap())
    }

    /// The reason and the fields that a request is refused for.
    pub(crate) fn refusal(
        &self,
        method: Method,
        target: &str,
        body: &str,
    ) -> (String, Vec<String>) {
        let error = self.request(method, target, body).unwrap_err();
        let fields = match &error {
            InputError::Fields(errors) => errors.iter().map(|error| error.field.clone()).collect(),
            _ => Vec::new(),
        };
        (error.reason().to_owned(), fields)
    }
}
