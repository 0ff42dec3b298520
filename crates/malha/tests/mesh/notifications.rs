//! What people are told of what happened, in the whole mesh.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Dev, Edge, House, Person, body, eventually, text};

/// Two people, of whom the first has sent the second money.
async fn transfer(edge: &Edge) -> [Person; 2] {
    let (ana, bob) = (edge.register("ana").await, edge.register("bob").await);
    assert_eq!(ana.deposit("100").await.status(), StatusCode::CREATED);
    let transfer = json!({"type": "TRANSFER", "receiverUserId": bob.id, "amount": "12.50"});
    assert_eq!(ana.transact(transfer).await.status(), StatusCode::CREATED);
    [ana, bob]
}

/// Titles of what a person has in the app.
async fn titles(person: &Person) -> Vec<String> {
    let list = body(person.get("/v1/notifications").await).await;
    let mut titles: Vec<_> =
        list["notifications"].as_array().unwrap().iter().map(|it| text(&it["title"])).collect();
    titles.sort();
    titles
}

/// The mails of a folder, each once.
fn mails(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// K-13, L-42, T-07: registration and transfer reach people in the app and, in development, as files.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_of_what_happened() {
    let mut dev = Dev::start().await;
    let [ana, bob] = transfer(&dev.edge).await;
    for (person, expected) in [
        (&ana, ["Boas-vindas ao Malha", "Transferência enviada"]),
        (&bob, ["Boas-vindas ao Malha", "Transferência recebida"]),
    ] {
        eventually("both stand in the app", async || titles(person).await == expected).await;
    }
    let folder = dev.site.path("mail");
    eventually("all mail is written", async || mails(&folder).len() == 4).await;
    let to = |address: &str| {
        let to = format!("<{address}>");
        mails(&folder).iter().filter(|mail| mail.contains(&to)).count()
    };
    assert_eq!((to("ana@example.com"), to("bob@example.com")), (2, 2));

    // Who registers an address again learns nothing; its owner does, once a day.
    for password in ["another password", "yet another one"] {
        let again = json!({"name": "Ana", "email": "ana@example.com", "password": password});
        let answer = dev.edge.post("/auth/register", &again).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    eventually("the owner is told", async || to("ana@example.com") == 3).await;

    // Nothing of it comes again.
    dev.stop().await;
    dev.start_again();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(mails(&folder).len(), 5);
    assert_eq!(titles(&bob).await.len(), 2);
}

/// A provider of pushes that takes them and does not answer, until it is told to.
struct Provider {
    url: String,
    posted: Arc<Mutex<Vec<Value>>>,
    answers: Arc<Mutex<bool>>,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self { url, posted: Arc::default(), answers: Arc::default() };
        let (posted, answers) = (Arc::clone(&provider.posted), Arc::clone(&provider.answers));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&posted), Arc::clone(&answers)));
            }
        });
        provider
    }

    /// Ids of all that was posted, and how often anything was.
    fn posted(&self) -> (BTreeSet<String>, usize) {
        let posted = self.posted.lock().unwrap();
        (posted.iter().map(|it| text(&it["id"])).collect(), posted.len())
    }
}

/// One request a connection.
async fn take(mut stream: TcpStream, posted: Arc<Mutex<Vec<Value>>>, answers: Arc<Mutex<bool>>) {
    let mut bytes = Vec::new();
    let message = loop {
        if stream.read_buf(&mut bytes).await.unwrap_or_default() == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(message) = serde_json::from_str::<Value>(body)
        {
            break message;
        }
    };
    posted.lock().unwrap().push(message);
    if *answers.lock().unwrap() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    } else {
        std::future::pending::<()>().await;
    }
}

/// `kill -9` while the provider has a message and nobody has recorded that: it is told again under the
/// same id, and people are told once in the app.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_delivery_loses_nothing() {
    let provider = Provider::start().await;
    let settings = format!(
        "notifications.push = {{ url = '{}', secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3' }}
         notifications.attempt_timeout = '10s'",
        provider.url
    );
    let mut house = House::start(&crate::support::MODULES, &settings).await;
    let people = transfer(&house.edge).await;
    eventually("both are posted", async || provider.posted().1 == 2).await;
    house.kill("notifications");
    *provider.answers.lock().unwrap() = true;
    house.spawn("notifications");

    let pushed = async |person: &Person| {
        let log = body(person.get("/v1/notifications/deliveries").await).await;
        let all = log["deliveries"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|it| it["channel"] == "PUSH" && it["status"] == "SENT")
    };
    for person in &people {
        eventually("the push is sent", async || pushed(person).await.is_some()).await;
        assert_eq!(pushed(person).await.unwrap()["attempts"], 2);
        assert_eq!(titles(person).await.len(), 2);
    }
    let (ids, posts) = provider.posted();
    assert_eq!((ids.len(), posts), (2, 4));
}
