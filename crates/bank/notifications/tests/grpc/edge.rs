//! Notifications as apps and browsers see them: through the edge.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use auth::{
    Claims, KeysConfig, Role, StaticKeys, TenantId, TokenSigner, TokenVerifier, UserId,
    VerifierConfig,
};
use clock::Clock;
use futures::{SinkExt, StreamExt};
use gateway::{Gateway, IssuerConfig};
use mesh::Mesh;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{PATIENCE, World, welcome};

/// The edge in front of notifications, and a person who is logged in.
struct Edge {
    world: World,
    address: String,
    client: Client,
    user: UserId,
    token: String,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

impl Edge {
    async fn start() -> Self {
        let world = World::start_at(Clock::system(), |_| {}).await;
        let signer = TokenSigner::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        fs::write(&file, json!({"keys": [signer.public_jwk()]}).to_string()).unwrap();
        world.stop().await;
        let keys = StaticKeys::new(vec![signer.public_jwk().clone()]);
        let verifier =
            TokenVerifier::new(Arc::new(keys), VerifierConfig::default(), world.kit.clock());
        let service = world.service().await.verifier(verifier);
        world.kit.serve(&world.kit.mesh("notifications"), service).await;

        let config = gateway::Config {
            https: None,
            http: Some(([127, 0, 0, 1], 0).into()),
            issuers: vec![IssuerConfig { keys: KeysConfig::File(file), ..IssuerConfig::malha() }],
            ..gateway::Config::default()
        };
        let mesh = Mesh::join("gateway", &world.kit.mesh_config("gateway")).unwrap();
        let gateway = Gateway::bind(config, Some(&mesh), world.kit.clock()).await.unwrap();
        let address = gateway.http().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(gateway.serve(stop.clone()));
        let client = Client::builder().no_proxy().build().unwrap();
        let (user, now) = (UserId::random(), world.kit.clock().now());
        let lasts = Duration::from_mins(15);
        let claims = Claims::new(user, TenantId::DEFAULT, vec![Role::Customer], now, lasts);
        let token = signer.sign(&claims).unwrap();
        let stopped = stop.drop_guard();
        Self { world, address, client, user, token, _stop: stopped, _folder: folder }
    }

    async fn get(&self, path: &str, accept: &str) -> Response {
        let request = self.client.get(format!("http://{}/v1/notifications{path}", self.address));
        request.bearer_auth(&self.token).header("accept", accept).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path, "application/json").await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }
}

/// The next event of a stream of server-sent events: its data.
async fn event(answer: &mut Response, rest: &mut String) -> Value {
    loop {
        if let Some((block, left)) = rest.split_once("\n\n") {
            let data =
                block.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
            left.to_owned().clone_into(rest);
            match data {
                Some(data) => return serde_json::from_str(&data).unwrap(),
                None => continue,
            }
        }
        let chunk = timeout(PATIENCE, answer.chunk()).await.unwrap().unwrap().unwrap();
        rest.push_str(std::str::from_utf8(&chunk).unwrap());
    }
}

async fn heard(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        match timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(frame) => return json!({"code": u16::from(frame.unwrap().code)}),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_list_and_read_over_rest() {
    let edge = Edge::start().await;
    edge.world.send(welcome(edge.user, "1")).await.unwrap();
    let list = edge.json("").await;
    let first = &list["notifications"][0];
    assert_eq!(first["title"], "Boas-vindas ao Malha");
    assert_eq!((&first["sequence"], &first["category"]), (&json!(1), &json!("ACCOUNT")));
    assert_eq!(first["read"], false);
    assert_eq!(edge.json("/unread-count").await, json!({"unread": 1}));

    let post = edge.client.post(format!("http://{}/v1/notifications/read", edge.address));
    let read = post.bearer_auth(&edge.token).json(&json!({"through": 1})).send().await.unwrap();
    assert_eq!(read.json::<Value>().await.unwrap(), json!({"unread": 0}));

    let path = format!("http://{}/v1/notifications/preferences", edge.address);
    let wanted = json!({"locale": "en", "quietHours": {"from": "22:00", "until": "07:00"}});
    let changed = edge.client.patch(&path).bearer_auth(&edge.token).json(&wanted).send().await;
    let changed: Value = changed.unwrap().json().await.unwrap();
    assert_eq!((&changed["locale"], &changed["quietHours"]), (&json!("en"), &wanted["quietHours"]));
    assert_eq!(edge.json("/preferences").await, changed);
    let named = edge.client.patch(format!("{path}?updateMask=quietHours")).bearer_auth(&edge.token);
    let reset: Value = named.json(&json!({})).send().await.unwrap().json().await.unwrap();
    assert_eq!((&reset["locale"], reset.get("quietHours")), (&json!("en"), None));
    let deliveries = edge.json("/deliveries").await;
    assert_eq!(deliveries["deliveries"].as_array().unwrap().len(), 2);

    let nobody = edge.client.get(format!("http://{}/v1/notifications", edge.address));
    assert_eq!(nobody.send().await.unwrap().status(), 401);
    assert_eq!(edge.get("/templates", "application/json").await.status(), 403);
}

/// L-79: server-sent events, live and from a place on.
#[tokio::test(flavor = "multi_thread")]
async fn browsers_hear_of_news_as_events() {
    let edge = Edge::start().await;
    let mut live = edge.get("/stream", "text/event-stream").await;
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    let mut rest = String::new();
    assert_eq!(event(&mut live, &mut rest).await, json!({"unread": 0, "sequence": 0}));
    edge.world.send(welcome(edge.user, "1")).await.unwrap();
    let told = event(&mut live, &mut rest).await;
    assert_eq!((&told["unread"], &told["sequence"]), (&json!(1), &json!(1)));
    assert_eq!(told["notification"]["body"], "Sua conta no Malha está aberta.");

    let mut resumed = edge.get("/stream?after=0", "text/event-stream").await;
    let mut rest = String::new();
    assert_eq!(event(&mut resumed, &mut rest).await["sequence"], 0);
    assert_eq!(event(&mut resumed, &mut rest).await["notification"]["sequence"], 1);
}

/// L-79: a WebSocket, on which an app also says what was read.
#[tokio::test(flavor = "multi_thread")]
async fn apps_talk_over_a_web_socket() {
    let edge = Edge::start().await;
    let url = format!("ws://{}/v1/notifications/socket", edge.address);
    let mut request = url.into_client_request().unwrap();
    let protocol = format!("bearer, {}", edge.token).parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let stream = TcpStream::connect(&edge.address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();

    assert_eq!(heard(&mut socket).await, json!({"unread": 0, "sequence": 0}));
    edge.world.send(welcome(edge.user, "1")).await.unwrap();
    let told = heard(&mut socket).await;
    assert_eq!(told["notification"]["title"], "Boas-vindas ao Malha");

    let id = told["notification"]["id"].clone();
    socket.send(Message::text(json!({"readIds": [id]}).to_string())).await.unwrap();
    assert_eq!(heard(&mut socket).await, json!({"unread": 0, "sequence": 1}));
    socket.send(Message::text("")).await.unwrap();
    assert_eq!(heard(&mut socket).await, json!({"code": 1000}));
}
