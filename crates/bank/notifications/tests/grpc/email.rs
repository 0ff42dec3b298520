//! E-mail, taken by a real server.

use std::time::Duration;

use auth::UserId;
use contracts::notifications::v1 as pb;
use contracts::notifications::v1::Channel::Email;
use contracts::notifications::v1::DeliveryStatus::{Failed, Pending, Sent};
use notifications::SmtpTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;

use crate::support::{Sink, World, eventually, welcome};

async fn with(sink: &Sink) -> World {
    World::start(|config| config.email = Some(sink.config())).await
}

/// K-13: the mail as it arrives: who, to whom, when, in which language, both parts, in UTF-8.
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_arrives_as_it_was_written() {
    let sink = Sink::start();
    let world = with(&sink).await;
    let user = world.customers.add("João Açaí", "joao@example.com", "");
    world.send(welcome(user, "welcome")).await.unwrap();
    let delivery = world.await_delivery(user, Email, |it| it.status() == Sent).await;

    let said = sink.await_said(1).await;
    let mail = &said[0];
    assert_eq!(mail["from"], "no-reply@malha.example");
    assert_eq!(mail["to"], serde_json::json!(["joao@example.com"]));
    let header = |name: &str| mail["headers"][name].as_str().unwrap().to_owned();
    assert_eq!(header("from"), "Banco Malha <no-reply@malha.example>");
    assert_eq!(header("to"), "João Açaí <joao@example.com>");
    assert_eq!(header("subject"), "Boas-vindas ao Malha");
    assert_eq!(header("date"), "Wed, 10 Jun 2026 15:00:00 +0000");
    assert_eq!(header("message-id"), format!("<{}@malha.example>", delivery.id));
    assert_eq!(header("auto-submitted"), "auto-generated");
    assert_eq!(header("content-language"), "pt");
    assert_eq!(header("mime-version"), "1.0");
    assert!(header("content-type").starts_with("multipart/alternative"));
    let [plain, html] = &mail["parts"].as_array().unwrap()[..] else { panic!("{mail}") };
    for part in [plain, html] {
        assert_eq!(part["charset"], "utf-8");
    }
    assert_eq!((&plain["type"], &html["type"]), (&"text/plain".into(), &"text/html".into()));
    assert_eq!(
        plain["text"].as_str().unwrap().trim_end(),
        "Olá, João Açaí,\n\nsua conta no Malha está aberta. Você já pode receber, transferir e \
         acompanhar seu saldo pelo aplicativo.\n\nO Malha nunca pede sua senha por e-mail, mensagem \
         ou telefone."
    );
    let html = html["text"].as_str().unwrap();
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"pt\">") && html.contains("João Açaí"));

    assert_eq!((delivery.attempts, delivery.address.as_str()), (1, "j***@example.com"));
    assert_eq!(delivery.provider_reference, "4F7A1");
    assert!(delivery.ended_at.is_some() && delivery.next_attempt_at.is_none());
}

/// People choose their names: what they write is neither HTML nor a header nor a template, and is
/// not carried under the bank's name.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_stays_a_name() {
    let sink = Sink::start();
    let world = with(&sink).await;
    for name in [
        "{{ 7*7 }} {% include 'layout.html' %}",
        "<script>alert(1)</script>",
        "Ana\r\nBcc: mallory@example.com",
        "You won: https://evil.example",
    ] {
        let user = world.customers.add(name, "victim@example.com", "");
        world.send(welcome(user, "welcome")).await.unwrap();
        world.await_delivery(user, Email, |it| it.status() == Sent).await;
    }
    for mail in sink.await_said(4).await {
        assert_eq!(mail["to"], serde_json::json!(["victim@example.com"]));
        assert_eq!(mail["headers"]["to"], "victim@example.com");
        assert!(mail["headers"].get("bcc").is_none());
        let text = mail["parts"].to_string();
        for trace in ["49", "7*7", "script", "mallory", "evil", "layout"] {
            assert!(!text.contains(trace), "{trace}: {text}");
        }
    }
}

/// A 4xx is a matter of time, by the clock; a 5xx is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_is_tried_again_and_what_is_refused_is_not() {
    let sink = Sink::start();
    let world = with(&sink).await;
    let busy = world.customers.add("Ana", "busy-2@example.com", "");
    let refused = world.customers.add("Bob", "reject@example.com", "");
    for user in [busy, refused] {
        world.send(welcome(user, "welcome")).await.unwrap();
    }
    let failed = world.await_delivery(refused, Email, |it| it.status() == Failed).await;
    assert_eq!((failed.reason.as_str(), failed.attempts), ("REJECTED", 1));

    // 30 s, then four times that, each up to a quarter less.
    for (attempt, wait) in [(1, 30), (2, 120)] {
        let put_off = |it: &pb::Delivery| it.attempts == attempt && it.reason == "DEFERRED";
        let delivery = world.await_delivery(busy, Email, put_off).await;
        assert_eq!(delivery.status(), Pending);
        let due = delivery.next_attempt_at.unwrap().seconds - world.kit.clock().now().timestamp();
        assert!((wait * 3 / 4 - 1..=wait).contains(&due), "{due}");
        world.advance(Duration::from_secs(u64::try_from(due).unwrap() - 1));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(world.delivery(busy, Email).await.attempts, attempt, "not before its time");
        world.advance(Duration::from_secs(2));
    }
    let sent = world.await_delivery(busy, Email, |it| it.status() == Sent).await;
    assert_eq!((sent.attempts, sent.reason.as_str()), (3, ""));
    assert_eq!(sink.said().len(), 1);
}

/// A server that never answers costs an attempt, and keeps nobody else's mail while there is any room.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_hang_keep_no_other_waiting() {
    let sink = Sink::start();
    let world = World::start(|config| {
        config.email = Some(sink.config());
        config.concurrency = 8;
    })
    .await;
    let hung = world.customers.add("Ana", "hang@example.com", "");
    for key in 1..8 {
        world.send(welcome(hung, &key.to_string())).await.unwrap();
    }
    sink.await_said(7).await;
    let other = world.customers.add("Bob", "bob@example.com", "");
    world.send(welcome(other, "welcome")).await.unwrap();
    world.await_delivery(other, Email, |it| it.status() == Sent).await;
    let of_hung = async || {
        let all = world.deliveries(hung).await;
        all.into_iter().filter(|it| it.channel() == Email).collect::<Vec<_>>()
    };
    assert!(of_hung().await.iter().all(|it| it.reason.is_empty()), "the attempts still wait");

    let delivery = eventually("an attempt ends", async || {
        of_hung().await.into_iter().find(|it| !it.reason.is_empty())
    })
    .await;
    assert_eq!((delivery.status(), delivery.reason.as_str()), (Pending, "TIMED_OUT"));
    assert_eq!(delivery.address, "h***@example.com");
}

/// A server that is away is tried until the attempts are used up.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_given_up_at_last() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut email = Sink::start().config();
    email.smtp.as_mut().unwrap().port = Some(nobody.local_addr().unwrap().port());
    drop(nobody);
    let world = World::start(|config| {
        config.email = Some(email);
        config.attempts_max = 3;
    })
    .await;
    let user = world.customers.add("Ana", "ana@example.com", "");
    world.send(welcome(user, "welcome")).await.unwrap();
    for attempt in 1..=3 {
        let delivery = world
            .await_delivery(user, Email, |it| it.attempts == attempt && it.reason == "UNREACHABLE");
        let status = if attempt == 3 { Failed } else { Pending };
        assert_eq!(delivery.await.status(), status);
        world.advance(Duration::from_hours(1));
    }
}

/// Who has no profile may get one; who has no address gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_of_the_profile_at_the_time() {
    let sink = Sink::start();
    let world = with(&sink).await;
    let (late, nowhere) = (UserId::random(), world.customers.add("Bob", "", ""));
    for user in [late, nowhere] {
        world.send(welcome(user, "welcome")).await.unwrap();
    }
    let failed = world.await_delivery(nowhere, Email, |it| it.status() == Failed).await;
    assert_eq!(failed.reason, "NO_ADDRESS");
    world.await_delivery(late, Email, |it| it.reason == "NO_PROFILE").await;
    world.customers.put(late, "Ana", "ana@example.com", "");
    world.advance(Duration::from_secs(30));
    world.await_delivery(late, Email, |it| it.status() == Sent).await;

    // The order may name somebody else: a former address, for one.
    let recipient = pb::Recipient { email: "former@example.com".into(), ..Default::default() };
    let request =
        pb::SendNotificationRequest { recipient: Some(recipient), ..welcome(late, "former") };
    world.send(request).await.unwrap();
    let mails = sink.await_said(2).await;
    assert_eq!(mails[1]["to"], serde_json::json!(["former@example.com"]));
}

/// TLS to a server whose authority is named, and a login; a server of another authority gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_over_tls_to_who_proves_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let mut ca = CertificateParams::new([]).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".into()]).unwrap();
    let server = server.signed_by(&key, &ca).unwrap();
    std::fs::write(file("ca.pem"), ca.as_ref().pem()).unwrap();
    std::fs::write(file("server.pem"), server.pem()).unwrap();
    std::fs::write(file("server.key"), key.serialize_pem()).unwrap();
    let sink = Sink::start_tls(&file("server.pem"), &file("server.key"));
    let config = |ca| {
        let mut email = sink.config();
        let smtp = email.smtp.as_mut().unwrap();
        smtp.host = "localhost".into();
        smtp.tls = SmtpTls::Implicit;
        smtp.ca = ca;
        smtp.username = Some("malha".into());
        smtp.password = Some("open sesame".into());
        email
    };
    let trusting = World::start(|it| it.email = Some(config(Some(file("ca.pem"))))).await;
    let wary = World::start(|it| it.email = Some(config(None))).await;
    for world in [&trusting, &wary] {
        let user = world.customers.add("Ana", "ana@example.com", "");
        world.send(welcome(user, "welcome")).await.unwrap();
        let delivery =
            world.await_delivery(user, Email, |it| it.status() == Sent || !it.reason.is_empty());
        let expected = if std::ptr::eq(world, &raw const trusting) { Sent } else { Pending };
        assert_eq!(delivery.await.status(), expected);
    }
    assert_eq!(sink.await_said(1).await[0]["login"], "malha");
    assert_eq!(sink.said().len(), 1);
}

/// Without a server, mail is a file of that name in a folder.
#[tokio::test(flavor = "multi_thread")]
async fn mail_is_written_into_a_folder_for_development() {
    let folder = tempfile::tempdir().unwrap();
    let mail = folder.path().join("mail");
    let world = World::start(|config| {
        config.email = Some(notifications::Email {
            from: "no-reply@malha.example".into(),
            smtp: None,
            folder: Some(mail.clone()),
        });
    })
    .await;
    let user = world.customers.add("Ana", "ana@example.com", "");
    world.send(welcome(user, "welcome")).await.unwrap();
    let delivery = world.await_delivery(user, Email, |it| it.status() == Sent).await;
    let written = eventually("the file is there", async || {
        std::fs::read_to_string(mail.join(format!("{}.eml", delivery.id))).ok()
    })
    .await;
    assert!(written.contains("To: Ana <ana@example.com>"), "{written}");
}
