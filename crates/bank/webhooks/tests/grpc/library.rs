//! The published library of the Standard Webhooks specification accepts what we sign, and we what it
//! signs: B-20, K-14. `cargo xtask test` installs it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clock::Clock;
use contracts::webhooks::v1 as pb;
use serde_json::{Value, json};
use testkit::Role;

use crate::inbound::{SECRET, admit, receive, signed};
use crate::receiver::Receiver;
use crate::world::{World, quick};

/// Reads a list of messages, and prints which of them the library accepts.
const VERIFY: &str = "
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

def accepted(message):
    try:
        Webhook(message['secret']).verify(message['body'], message['headers'])
        return True
    except WebhookVerificationError:
        return False

print(json.dumps([accepted(message) for message in json.load(sys.stdin)]))
";

/// Reads a message, and prints its signature.
const SIGN: &str = "
import json, sys
from datetime import datetime, timezone
from standardwebhooks.webhooks import Webhook

message = json.load(sys.stdin)
at = datetime.fromtimestamp(message['at'], tz=timezone.utc)
print(json.dumps(Webhook(message['secret']).sign(message['id'], at, message['body'])))
";

fn python(script: &str, input: &Value) -> Value {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let python = home.join(".cache/malha/standardwebhooks/bin/python");
    assert!(python.exists(), "the library is missing; `cargo xtask test` installs it");
    let mut command = Command::new(python);
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A clock that stands at the library's time.
async fn world() -> World {
    World::at(quick(), Clock::manual(Clock::system().now())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_accepts_what_we_send() {
    let world = world().await;
    let receiver = Receiver::start().await;
    let created = world.register(&receiver.url(), &[]).await;
    let (id, old) = (created.endpoint.unwrap().id, created.secret);
    world.ping(&id).await;
    receiver.await_got(1).await;
    let rotate = pb::RotateSecretRequest { id: id.clone(), ..Default::default() };
    let new = world.ask(async |mut client| client.rotate_secret(rotate).await).await;
    let new = new.unwrap().secret;
    world.ping(&id).await;
    let got = receiver.await_got(2).await;

    let message = |secret: &str, got: &crate::receiver::Got| {
        json!({
            "secret": secret,
            "body": String::from_utf8(got.body.clone()).unwrap(),
            "headers": {
                "webhook-id": got.id,
                "webhook-timestamp": got.timestamp,
                "webhook-signature": got.signature,
            },
        })
    };
    let mut changed = got[0].clone();
    changed.body.push(b' ');
    let messages = json!([
        message(&old, &got[0]),
        message(&new, &got[0]),
        message(&old, &got[1]),
        message(&new, &got[1]),
        message(&old, &changed),
    ]);
    assert_eq!(python(VERIFY, &messages), json!([true, false, true, true, false]));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_accept_what_the_library_signs() {
    let world = world().await;
    admit(&world, world.staff(Role::Admin)).await;
    let body = r#"{"type":"payment.settled","data":{"name":"São Paulo"}}"#;
    let at = world.clock.now().timestamp();
    let message = json!({ "secret": SECRET, "id": "msg_1", "at": at, "body": body });
    let signature = python(SIGN, &message);

    let mut request = signed("msg_1", at, body.as_bytes());
    let value = signature.as_str().unwrap().parse().unwrap();
    request.metadata_mut().insert("webhook-signature", value);
    assert!(!receive(&world, request).await.unwrap().duplicate);
}
