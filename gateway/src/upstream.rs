//! One call to the service behind a route, of messages that are bytes already.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use mesh::Mesh;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::routes::Route;

/// Calls the method of `route` in `context`.
///
/// The call has a task of its own: a client that leaves does not reset its stream, so a crowd
/// that leaves at once does not cost the others their shared connection. The context's deadline
/// bounds it.
pub(crate) async fn call(
    mesh: &Mesh,
    route: &Route,
    context: mesh::Context,
    message: Vec<u8>,
) -> Result<Response<Bytes>, Status> {
    let client = Grpc::new(mesh.channel(&route.upstream));
    let call = unary(client, route.grpc_path.clone(), Bytes::from(message));
    let task = tokio::spawn(context.scope(call).in_current_span());
    task.await.unwrap_or_else(|_| Err(Status::internal("the call ended early")))
}

async fn unary(
    mut client: Grpc<mesh::Channel>,
    path: PathAndQuery,
    message: Bytes,
) -> Result<Response<Bytes>, Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.unary(Request::new(message), path, Raw).await
}

/// Passes messages as the bytes that they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
