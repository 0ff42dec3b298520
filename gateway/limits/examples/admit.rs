//! What admitting one request costs: in memory on one and four threads, and with a local Redis.
//!
//! ```text
//! cargo run --release -p limits --example admit -- --json
//! ```

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use limits::{Admission, Caller, Limiter, RateConfig, RateStore, Redis, RedisConfig, TierId};

/// Callers among whom requests are spread.
const CALLERS: u64 = 10_000;

/// Requests at a time that ask Redis.
const IN_FLIGHT: u64 = 64;

/// Prints what admitting one request costs.
#[derive(Parser)]
struct Cli {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Requests that each thread makes in memory.
    #[arg(long, default_value_t = 5_000_000)]
    requests: u64,
    /// Requests made with Redis.
    #[arg(long, default_value_t = 100_000)]
    redis_requests: u64,
}

fn main() {
    let cli = Cli::parse();
    let one = local_ns(1, cli.requests);
    let four = local_ns(4, cli.requests);
    let server = Server::start();
    let redis = server.measure(cli.redis_requests);
    if cli.json {
        println!(
            "{}",
            serde_json::json!({
                "local_ns_1_thread": one,
                "local_ns_4_threads": four,
                "redis_latency_us_p50": redis.alone_us_p50,
                "redis_us_per_request": redis.together_us,
                "redis_round_trips": redis.round_trips,
            })
        );
    } else {
        println!("memory, 1 thread    {one:8.1} ns a request");
        println!("memory, 4 threads   {four:8.1} ns a request of each thread");
        println!("Redis, 1 in flight  {:8.1} µs a request (median)", redis.alone_us_p50);
        println!("Redis, {IN_FLIGHT} in flight {:8.1} µs a request", redis.together_us);
        println!("Redis               {:8.3} round trips a request", redis.round_trips);
    }
}

/// Nanoseconds that a thread needs for one request, when so many make them at once.
fn local_ns(threads: u64, requests: u64) -> f64 {
    let limiter = Limiter::new(&RateConfig::default(), None).expect("the defaults can be applied");
    let class = limiter.class("default");
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            let limiter = &limiter;
            scope.spawn(move || {
                for request in 0..requests {
                    let name = name(thread * CALLERS / threads + request);
                    let caller = Caller::Verified { realm: &[7; 16], name: &name };
                    let Admission::Decided(decision) =
                        limiter.admit(class, TierId::default(), &caller)
                    else {
                        unreachable!("memory asks nobody");
                    };
                    std::hint::black_box(decision.is_admitted());
                }
            });
        }
    });
    per_request(start.elapsed(), requests) * 1e9
}

/// One of the callers; those that follow each other have nothing to do with each other.
fn name(number: u64) -> [u8; 16] {
    let number = (number % CALLERS).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u128::from(number).to_le_bytes()
}

struct Server {
    process: Child,
    port: u16,
}

struct Measured {
    alone_us_p50: f64,
    together_us: f64,
    round_trips: f64,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a local port is free")
            .port();
        let process = Command::new("redis-server")
            .args(["--save", "", "--bind", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, port }
    }

    fn measure(&self, requests: u64) -> Measured {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let redis = Redis::open(&RedisConfig { url, ..RedisConfig::default() });
        let budget = Duration::from_secs(1);
        let config = RateConfig { store: RateStore::Redis, budget, ..RateConfig::default() };
        let limiter = Limiter::new(&config, Some(&redis.expect("the address is right")))
            .expect("the defaults can be applied");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        runtime.block_on(limiter.ready());
        runtime.block_on(ask(&limiter, 0));

        let before = self.round_trips();
        let mut alone: Vec<_> = (0..requests / 10)
            .map(|request| {
                let start = Instant::now();
                runtime.block_on(ask(&limiter, request));
                start.elapsed()
            })
            .collect();
        alone.sort_unstable();
        let start = Instant::now();
        runtime.block_on(futures::future::join_all((0..IN_FLIGHT).map(async |task| {
            for request in 0..requests / IN_FLIGHT {
                ask(&limiter, task * CALLERS / IN_FLIGHT + request).await;
            }
        })));
        let together_us = per_request(start.elapsed(), requests) * 1e6;
        let asked = requests / 10 + requests / IN_FLIGHT * IN_FLIGHT;
        Measured {
            alone_us_p50: alone[alone.len() / 2].as_secs_f64() * 1e6,
            together_us,
            round_trips: ratio(self.round_trips() - before, asked),
        }
    }

    /// Scripts that the server has run.
    fn round_trips(&self) -> u64 {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port));
        let mut connection =
            client.and_then(|client| client.get_connection()).expect("redis-server answers");
        let stats: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut connection)
            .expect("redis-server has statistics");
        let calls = stats.lines().find_map(|line| {
            line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next()?.parse().ok()
        });
        calls.unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn ask(limiter: &Limiter, number: u64) {
    let name = name(number);
    let caller = Caller::Verified { realm: &[7; 16], name: &name };
    limiter.admit(limiter.class("default"), TierId::default(), &caller).decided().await;
}

fn per_request(elapsed: Duration, requests: u64) -> f64 {
    elapsed.as_secs_f64() / ratio(requests, 1)
}

#[expect(clippy::cast_precision_loss, reason = "counts here are small")]
fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}
