//! Bounds on number, size and time.

use std::time::{Duration, Instant};

use auth::Role;
use gateway::Window;
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, problem};

/// L-06: per caller, with headers, and over again after the wait.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_requests_wait_as_long_as_they_are_told() {
    let windows =
        vec![Window::new(3, Duration::from_secs(3)), Window::new(100, Duration::from_mins(15))];
    let house = House::start_with(
        |config| {
            config.rate_limits.classes.insert("default".to_owned(), windows);
        },
        |_| {},
    )
    .await;
    let token = house.token(&[Role::Customer]);
    let send = || house.request(Method::GET, "/users/me/balance").bearer_auth(&token).send();

    for left in ["2", "1", "0"] {
        let response = send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["ratelimit-remaining"], left);
        assert_eq!(
            response.headers()["ratelimit-policy"],
            r#""default-3s";q=3;w=3, "default-900s";q=100;w=900"#
        );
    }
    let response = send().await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.headers()["ratelimit-limit"], "3");
    assert!(
        response.headers()["ratelimit"].to_str().unwrap().starts_with(r#""default-3s";r=0;t="#)
    );
    problem(response, 429, "RATE_LIMITED").await;

    let other = house.signed(Method::GET, "/users/me/balance").send().await.unwrap();
    assert_eq!(other.status(), 200, "another user has a count of its own");
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(send().await.unwrap().status(), 200);
}

/// L-06: classes of the contract, and guessing at tokens.
#[tokio::test(flavor = "multi_thread")]
async fn classes_count_apart_and_refused_tokens_count_for_their_address() {
    let house = House::start_with(
        |config| {
            let two = vec![Window::new(2, Duration::from_mins(1))];
            config.rate_limits.classes.insert("default".to_owned(), two.clone());
            config.rate_limits.classes.insert("auth".to_owned(), two);
        },
        |_| {},
    )
    .await;
    let login = || {
        house
            .request(Method::POST, "/auth/login")
            .body(r#"{"email":"a@b.c","password":"x"}"#)
            .header("content-type", "application/json")
            .send()
    };
    for status in [401, 401, 429] {
        assert_eq!(login().await.unwrap().status(), status);
    }
    let guess = || house.request(Method::GET, "/users/me/balance").bearer_auth("guess").send();
    let user = house.signed(Method::GET, "/users/me/balance");
    let known = || user.try_clone().unwrap().send();
    assert_eq!(known().await.unwrap().status(), 200);
    for status in [401, 401, 429] {
        assert_eq!(guess().await.unwrap().status(), status);
    }
    assert_eq!(known().await.unwrap().status(), 200);
    assert_eq!(house.request(Method::GET, "/livez").send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_greatest_size() {
    let house = House::start_with(|config| config.limits.body_bytes_max = 1000, |_| {}).await;
    let json =
        format!(r#"{{"type":"DEPOSIT","amount":1,"metadata":{{"a":"{}"}}}}"#, "x".repeat(2000));
    let announced = house.signed(Method::POST, "/transactions").body(json.clone());
    let announced = announced.header("content-type", "application/json").send().await.unwrap();
    problem(announced, 413, "BODY_TOO_LARGE").await;

    let length = json.len();
    let chunked = format!(
        "POST /auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n{json}\r\n0\r\n\r\n"
    );
    let answer = raw(&house, &chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(house.calls.count(), 0);
}

/// A connection that ends because a body was not read says so: the next request would be lost.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_before_its_body_is_read_is_told_that_the_connection_ends() {
    let house = House::start().await;
    let refused = "POST /transactions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n";
    let answer = raw(&house, refused).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let read = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}";
    let answer = raw(&house, read).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("connection:"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let house =
        House::start_with(|config| config.limits.body_timeout = Duration::from_millis(200), |_| {})
            .await;
    let begun = Instant::now();
    let answer =
        raw(&house, "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{\"email\"")
            .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("BODY_TIMEOUT"));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_a_greatest_size_number_and_time() {
    let house = House::start_with(
        |config| {
            config.limits.header_timeout = Duration::from_millis(300);
            config.limits.headers_max = 20;
        },
        |_| {},
    )
    .await;
    let many = "x-one: y\r\n".repeat(40);
    let answer = raw(&house, &format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long =
        format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "y".repeat(64 * 1024));
    let answer = raw(&house, &long).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let begun = Instant::now();
    let answer = raw(&house, "GET /livez HTTP/1.1\r\nhost: x\r\n").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(2), "a slow client is left");
    assert!(
        raw(&house, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200 ")
    );
}

/// RFC 9112 section 3.2.
#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_1_request_without_a_host_is_refused() {
    let house = House::start().await;
    let answer = raw(&house, "GET /livez HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("HOST_MISSING"), "{answer}");
}

/// Sends bytes and reads until the gateway closes or keeps silent.
async fn raw(house: &House, bytes: &str) -> String {
    let mut stream = TcpStream::connect(house.http).await.unwrap();
    // The gateway may close before it has read everything.
    let _ = stream.write_all(bytes.as_bytes()).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read)) =
        tokio::time::timeout(Duration::from_millis(800), stream.read(&mut buffer)).await
    {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap()
}

/// L-06: behind a proxy, clients are told apart by what it says of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_tells_whose_requests_are_counted() {
    let two = vec![Window::new(2, Duration::from_mins(1))];
    let trusting = House::start_with(
        |config| {
            config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
            config.rate_limits.classes.insert("auth".to_owned(), two.clone());
        },
        |_| {},
    )
    .await;
    let login = async |house: &House, client: &str| {
        let request = house.request(Method::POST, "/auth/login").header("x-forwarded-for", client);
        let request = request.header("content-type", "application/json");
        let body = r#"{"email":"a@b.c","password":"x"}"#;
        request.body(body).send().await.unwrap().status().as_u16()
    };
    for (client, status) in [
        ("192.0.2.1", 401),
        ("192.0.2.1", 401),
        ("192.0.2.1", 429),
        ("made-up, 192.0.2.1", 429),
        ("192.0.2.2", 401),
    ] {
        assert_eq!(login(&trusting, client).await, status, "{client}");
    }
    let wary = House::start_with(
        |config| {
            config.rate_limits.classes.insert("auth".to_owned(), two);
        },
        |_| {},
    )
    .await;
    for (client, status) in [("192.0.2.1", 401), ("192.0.2.2", 401), ("192.0.2.3", 429)] {
        assert_eq!(login(&wary, client).await, status, "{client}");
    }
}

fn three(config: &mut gateway::Config) {
    let three = vec![Window::new(3, Duration::from_mins(1))];
    config.rate_limits.classes.insert("default".to_owned(), three);
}

/// L-06: who looks around has a limit too.
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_what_is_not_here_are_counted() {
    for (method, path, kind, status) in [
        (Method::GET, "/nothing", "application/json", 404),
        (Method::DELETE, "/auth/login", "application/json", 405),
        (Method::OPTIONS, "/nothing", "application/json", 404),
        (Method::POST, "/no.Service/Method", "application/grpc-web", 200),
    ] {
        let house = House::start_with(three, |_| {}).await;
        let stray = async || {
            let request = house.request(method.clone(), path).header("content-type", kind);
            let answer = request.send().await.unwrap();
            let told = answer.status().as_u16();
            let is_limited =
                answer.bytes().await.unwrap().windows(14).any(|it| it == b"grpc-status: 8");
            (told, told == 429 || is_limited)
        };
        for _ in 0..3 {
            assert_eq!(stray().await, (status, false), "{path}");
        }
        assert!(stray().await.1, "{path}");
    }
}

/// L-06: an address that guesses tokens has none of them verified any more; users who are known go on.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_an_address_that_guessed_too_often_is_verified() {
    let house = House::start_with(three, |_| {}).await;
    let ask = async |token: &str| {
        let request = house.request(Method::GET, "/users/me/balance").bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    let known = house.token(&[Role::Customer]);
    assert_eq!(ask(&known).await, 200);
    for guess in ["a.b.c", "b.c.d", "c.d.e"] {
        assert_eq!(ask(guess).await, 401);
    }
    assert_eq!(ask(&house.token(&[Role::Customer])).await, 429, "good, but not known");
    assert_eq!(ask(&known).await, 200);
}
