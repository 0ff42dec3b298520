//! The command line: what it prints, and what it says when something is wrong.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::{fs, str};

use crate::support::{self, free_ports};

/// Runs `malha` in `folder`.
fn malha(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    support::malha(folder).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// What a successful command prints.
fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{}", str::from_utf8(&output.stderr).unwrap());
    str::from_utf8(&output.stdout).unwrap()
}

/// The one line that a failed command says.
fn refusal(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1));
    let error = str::from_utf8(&output.stderr).unwrap().trim_end();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// B-44, T-46
#[test]
fn certificates_are_made_renewed_and_listed() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| malha(home.path(), arguments, &[]);

    let empty = run(&["certs", "show"]);
    assert!(refusal(&empty).contains("`malha certs init`"));
    printed(&run(&["certs", "init"]));
    printed(&run(&["certs", "issue", "ledger"]));
    let first = fs::read(home.path().join(".malha/certs/ledger.pem")).unwrap();
    printed(&run(&["certs", "issue", "ledger"]));
    assert_ne!(fs::read(home.path().join(".malha/certs/ledger.pem")).unwrap(), first);

    let listed = run(&["certs", "show"]);
    let ledger = printed(&listed).lines().find(|line| line.starts_with("ledger.pem")).unwrap();
    assert!(ledger.contains("spiffe://malha/ledger") && ledger.contains("days"), "{ledger}");
    for key in ["ca.key", "ledger.key"] {
        let mode = fs::metadata(home.path().join(".malha/certs").join(key)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{key}");
    }
}

#[test]
fn settings_come_from_file_and_environment() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("malha.toml"), "[storage]\nport = 6543\nhost = 'db'\n").unwrap();
    let variables = [
        ("MALHA_STORAGE__PORT", "7654"),
        ("MALHA_STORAGE__PASSWORD", "0123"),
        ("MALHA_MESH__ENDPOINTS__LEDGER", "[\"ledger-0:7104\", \"ledger-1:7104\"]"),
        ("MALHA_SERVICE_HOST", "made by Kubernetes"),
    ];

    let output = malha(home.path(), &["config", "--config", "malha.toml"], &variables);

    let settings: toml::Table = printed(&output).parse().unwrap();
    assert_eq!(settings["storage"]["port"].as_integer(), Some(7654));
    assert_eq!(settings["storage"]["host"].as_str(), Some("db"));
    assert_eq!(settings["storage"]["password"].as_str(), Some("***"));
    let ledger = settings["mesh"]["endpoints"]["ledger"].as_array().unwrap();
    assert_eq!(ledger.len(), 2);
}

#[test]
fn wrong_variable_is_named() {
    let home = tempfile::tempdir().unwrap();
    let config = |variable| malha(home.path(), &["config"], &[variable]);

    let unknown = config(("MALHA_MESH__LIMITS__IN_FLIGHT", "3"));
    let unknown = refusal(&unknown);
    assert!(unknown.contains("MALHA_MESH__LIMITS__IN_FLIGHT: there is no setting"), "{unknown}");
    let wrong = config(("MALHA_STORAGE__PORT", "many"));
    assert!(refusal(&wrong).contains("MALHA_STORAGE__PORT: `storage.port` is wrong"));
}

#[test]
fn taken_port_is_named_with_its_setting() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let [admin] = free_ports();
    let admin = format!("127.0.0.1:{admin}");
    let variables = [("MALHA_MESH__LISTEN__LEDGER", &*taken), ("MALHA_TELEMETRY__LISTEN", &*admin)];

    let output = malha(home.path(), &["serve", "ledger"], &variables);

    let refusal = refusal(&output);
    assert!(refusal.contains(&taken) && refusal.contains("mesh.listen.ledger"), "{refusal}");
}

#[test]
fn service_without_certificate_says_how_to_make_it() {
    let home = tempfile::tempdir().unwrap();
    let [ledger, admin] = free_ports();
    let (ledger, admin) = (format!("127.0.0.1:{ledger}"), format!("127.0.0.1:{admin}"));
    let variables =
        [("MALHA_MESH__LISTEN__LEDGER", &*ledger), ("MALHA_TELEMETRY__LISTEN", &*admin)];

    let output = malha(home.path(), &["serve", "ledger"], &variables);

    let refusal = refusal(&output);
    assert!(refusal.contains("`malha certs issue ledger`"), "{refusal}");
    assert_eq!(refusal.matches("No such file").count(), 1, "{refusal}");
}

#[test]
fn token_without_a_mesh_says_what_to_start() {
    let home = tempfile::tempdir().unwrap();
    let [nobody] = free_ports();
    let endpoint = format!("[\"127.0.0.1:{nobody}\"]");
    for arguments in [["certs", "init"].as_slice(), &["certs", "issue", "engineer"]] {
        printed(&malha(home.path(), arguments, &[]));
    }

    let output = malha(home.path(), &["token"], &[("MALHA_MESH__ENDPOINTS__IDENTITY", &endpoint)]);

    let refusal = refusal(&output);
    assert!(refusal.contains("`malha dev`") && refusal.contains(&nobody.to_string()), "{refusal}");
}

/// Makes an empty ledger in `ledger` and files to import.
fn make_ledger(home: &Path) {
    let folder = home.join("ledger");
    let signing_key = folder.join("signing.key");
    let options = engine::Options { folder, create: true, signing_key, snapshot_every: 1_000 };
    drop(engine::Engine::open(&options, clock::Clock::system()).unwrap());
    let id = |number: u128| uuid::Uuid::from_u128(number);
    let accounts = format!("id,ledger,code\n{},986,1\n{},986,1\n", id(1), id(2));
    fs::write(home.join("accounts.csv"), accounts).unwrap();
    let head = "id,debit_account_id,credit_account_id,amount,ledger,effective_at";
    let good = format!("{},{},{},1050,986,2020-01-31", id(7), id(1), id(2));
    let refused = format!("{},{},{},1,840,", id(8), id(1), id(2));
    fs::write(home.join("transfers.csv"), format!("{head}\n{good}\n{refused}\n")).unwrap();
    fs::write(home.join("malha.toml"), "[ledger]\njournal = 'ledger'\n").unwrap();
}

/// B-29, B-31, L-80: what a ledger says is imported, verified, proved, copied and exported by files
/// alone.
#[test]
fn a_ledger_is_worked_on_by_its_files() {
    let home = tempfile::tempdir().unwrap();
    make_ledger(home.path());
    let run = |arguments: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        malha(home.path(), &[&["ledger"][..], &arguments].concat(), &[])
    };
    let tenant = "--tenant 00000000-0000-0000-0000-0000000000aa";
    let id = "00000000-0000-0000-0000-000000000007";

    let imported = run(&format!("import malha.toml accounts.csv transfers.csv {tenant}"));
    assert_eq!(imported.status.code(), Some(2));
    let told = str::from_utf8(&imported.stdout).unwrap();
    assert!(told.contains("transfers.csv, line 3: TRANSFER_MUST_HAVE_THE_SAME_LEDGER"), "{told}");
    assert!(told.contains("transfers: 1 recorded, 0 there before, 1 refused"), "{told}");

    let keys = run("key ledger");
    let key = printed(&keys).trim().rsplit(' ').next().unwrap();
    let verified = run(&format!("verify ledger --key {key}"));
    assert!(printed(&verified).contains("1 are transfers and 2 accounts"));
    fs::write(
        home.path().join("kept"),
        printed(&verified).split_once("Head,").unwrap().1.split_once('\n').unwrap().1,
    )
    .unwrap();

    printed(&run(&format!("prove transfer ledger {id} {tenant} --out proof.json")));
    let checked = run(&format!("check proof.json --key {key}"));
    assert!(printed(&checked).contains("1,050 minor units of ledger 986"));
    printed(&run("backup ledger copy"));
    printed(&run("rotate-key malha.toml"));
    printed(&run("prove key ledger --out keys.json"));
    let followed = run(&format!("check keys.json --key {key}"));
    let new_key = printed(&followed).trim().rsplit('\n').next().unwrap();
    printed(&run(&format!("verify ledger --key {new_key} --head kept")));
    printed(&run("restore copy restored --signing-key ledger/signing.key.4.old"));
    let exported = run("export restored --format ndjson");
    let line = printed(&exported).lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("\"effective_at\":\"2020-01-31T00:00:00.000000000Z\""), "{line}");

    let wrong = run(&format!("check proof.json --key {new_key}"));
    assert!(refusal(&wrong).contains("signed with another key"));
    assert_eq!(run("verify ledger --key nonsense").status.code(), Some(2));
}

#[test]
fn misuse_is_told_from_failure() {
    let home = tempfile::tempdir().unwrap();

    assert_eq!(malha(home.path(), &["serve"], &[]).status.code(), Some(2));
    assert_eq!(malha(home.path(), &["token", "--role", "boss"], &[]).status.code(), Some(2));
    let unknown = malha(home.path(), &["serve", "cards"], &[]);
    assert!(refusal(&unknown).contains("there is no service `cards`"));
}
