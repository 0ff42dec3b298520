//! Contracts that upstreams show by gRPC reflection, v1 or v1alpha.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::FileDescriptorProto;
use tokio::time::{Instant, timeout};
use tonic::Code;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use upstream::{Failure, Health, Route, StreamCall, UpstreamConfig, Upstreams, Worker};

use super::merge::is_well_known;
use super::{ANSWER_WITHIN, ContractError};

/// Both versions of the protocol have the same messages.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Files that one upstream may show: what shows more is broken or means ill.
const FILES_MAX: usize = 4096;

/// Services of gRPC itself.
const GRPC_PACKAGE: &str = "grpc.";

/// Why an upstream does not show its contracts.
#[derive(Debug, thiserror::Error)]
pub enum ReflectionError {
    /// It refuses, or cannot be reached.
    #[error("{0}")]
    Call(#[from] Failure),
    /// It takes too long.
    #[error("it takes too long")]
    Slow,
    /// It answers something else than it was asked for.
    #[error("it answers something else than it was asked for")]
    Confused,
    /// It lacks a file that another one imports.
    #[error("it lacks the file `{0}`, which another one imports")]
    Missing(String),
    /// It shows more files than anybody has.
    #[error("it shows more than {FILES_MAX} files")]
    TooMany,
}

/// An upstream that shows its contracts.
#[derive(Clone)]
pub(crate) struct Reflection {
    upstream: Arc<str>,
    worker: Worker,
}

/// What an upstream shows of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reflected {
    pub(super) upstream: String,
    pub(super) services: BTreeSet<String>,
    /// Encoded `FileDescriptorProto`s by name: encoded, since options are extensions.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl Reflection {
    /// The upstream of this name; nothing is asked yet.
    pub(super) fn new(name: &str, config: &UpstreamConfig) -> Result<Self, ContractError> {
        // A connection of its own, beside those of requests: it needs no health checks, for its
        // questions are some themselves.
        let health = Health { enabled: false, ..config.health.clone() };
        let config = UpstreamConfig { health, ..config.clone() };
        let upstreams = [(name.to_owned(), config)].into();
        let config = upstream::Config { upstreams, sticky_key: None };
        let worker = Upstreams::new(&config, None, NonZeroUsize::MIN)?.worker();
        Ok(Self { upstream: name.into(), worker })
    }

    /// Name of the upstream.
    pub(super) fn name(&self) -> &str {
        &self.upstream
    }

    /// Asks for everything that the upstream offers, for no longer than `within`.
    pub(super) async fn ask(&self, within: Duration) -> Result<Reflected, ContractError> {
        let asked = timeout(within, self.ask_versions()).await;
        asked.unwrap_or(Err(ReflectionError::Slow)).map_err(|source| ContractError::Reflection {
            upstream: self.upstream.to_string(),
            source,
        })
    }

    async fn ask_versions(&self) -> Result<Reflected, ReflectionError> {
        let [path, older] = PATHS.map(PathAndQuery::from_static);
        match self.ask_at(path).await {
            Err(ReflectionError::Call(failure)) if failure.code == Code::Unimplemented => {
                self.ask_at(older).await
            }
            result => result,
        }
    }

    async fn ask_at(&self, path: PathAndQuery) -> Result<Reflected, ReflectionError> {
        let list = vec![Question::ListServices(String::new())];
        let Some(Answer::ListServicesResponse(listed)) = self.talk(&path, list).await?.pop() else {
            return Err(ReflectionError::Confused);
        };
        let services = listed.service.into_iter().map(|service| service.name);
        let services: BTreeSet<_> =
            services.filter(|service| !service.starts_with(GRPC_PACKAGE)).collect();
        let mut files = BTreeMap::new();
        let mut wanted: Vec<_> =
            services.iter().cloned().map(Question::FileContainingSymbol).collect();
        while !wanted.is_empty() {
            let answers = self.talk(&path, wanted.clone()).await?;
            for (question, answer) in wanted.iter().zip(answers) {
                keep(found(question, answer)?, &mut files)?;
            }
            wanted = missing(&files).into_iter().map(Question::FileByFilename).collect();
        }
        Ok(Reflected { upstream: self.upstream.to_string(), services, files: encoded(files) })
    }

    /// Asks all of `questions` on one stream.
    async fn talk(
        &self,
        path: &PathAndQuery,
        questions: Vec<Question>,
    ) -> Result<Vec<Answer>, ReflectionError> {
        let call = StreamCall {
            upstream: Arc::clone(&self.upstream),
            path: path.clone(),
            headers: HeaderMap::new(),
            deadline: Some(Instant::now() + ANSWER_WITHIN),
            route: Route::default(),
        };
        let count = questions.len();
        let (mut sender, mut receiver) = self.worker.stream(call).await?;
        let asking = async move {
            for question in questions {
                sender.message(request(question).encode_to_vec().into()).await?;
            }
            sender.finish()
        };
        let listening = async {
            let mut answers = Vec::new();
            while let Some(message) = receiver.message().await? {
                let answer = ServerReflectionResponse::decode(message);
                let answer = answer.ok().and_then(|answer| answer.message_response);
                answers.push(answer.ok_or(ReflectionError::Confused)?);
            }
            Ok::<_, ReflectionError>(answers)
        };
        // Why questions are not taken, the answers tell.
        let (_, answers) = futures::join!(asking, listening);
        let answers = answers?;
        if answers.len() == count { Ok(answers) } else { Err(ReflectionError::Confused) }
    }
}

/// Files by name, each as it was encoded and with what it imports.
type Files = BTreeMap<String, (Vec<u8>, Vec<String>)>;

/// The files that answer `question`.
fn found(question: &Question, answer: Answer) -> Result<Vec<Vec<u8>>, ReflectionError> {
    match (question, answer) {
        (_, Answer::FileDescriptorResponse(files)) => Ok(files.file_descriptor_proto),
        (Question::FileByFilename(name), Answer::ErrorResponse(_)) => {
            let file = well_known(name).ok_or_else(|| ReflectionError::Missing(name.clone()))?;
            Ok(vec![file])
        }
        _ => Err(ReflectionError::Confused),
    }
}

fn keep(found: Vec<Vec<u8>>, files: &mut Files) -> Result<(), ReflectionError> {
    for file in found {
        let named = FileDescriptorProto::decode(&*file).map_err(|_| ReflectionError::Confused)?;
        let name = named.name().to_owned();
        files.insert(name, (file, named.dependency));
    }
    if files.len() > FILES_MAX { Err(ReflectionError::TooMany) } else { Ok(()) }
}

/// Files that others import and that are not there yet.
fn missing(files: &Files) -> BTreeSet<String> {
    let imported = files.values().flat_map(|(_, imports)| imports);
    imported.filter(|name| !files.contains_key(*name)).cloned().collect()
}

fn encoded(files: Files) -> BTreeMap<String, Vec<u8>> {
    files.into_iter().map(|(name, (file, _))| (name, file)).collect()
}

fn request(question: Question) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(question) }
}

/// A file that everybody imports and not every server can show.
fn well_known(name: &str) -> Option<Vec<u8>> {
    let file = contracts::pool().get_file_by_name(name).filter(|_| is_well_known(name))?;
    Some(file.encode_to_vec())
}
