//! E-mail: a message of two parts, to a server or into a folder.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use async_trait::async_trait;
use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error as SmtpError};
use lettre::{Address, AsyncTransport, Message, Tokio1Executor};

use super::{Carrier, ChannelError, Letter};
use crate::config::{Email, Smtp, SmtpTls};
use crate::domain::attempts::Outcome;

/// The office that e-mail is taken to.
pub(super) struct Post {
    from: Mailbox,
    way: Way,
}

enum Way {
    Server(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

impl Post {
    pub(super) fn new(config: &Email, timeout: Duration) -> Result<Self, ChannelError> {
        let setting = |setting, rule| ChannelError::Setting { setting, rule };
        let from = config.from.parse();
        let from =
            from.map_err(|_| setting("email.from", "must be an address or `Name <address>`"))?;
        let way = match (&config.smtp, &config.folder) {
            (Some(smtp), None) => Way::Server(server(smtp, timeout)?),
            (None, Some(folder)) => {
                let failed = |source| ChannelError::File { path: folder.clone(), source };
                fs::create_dir_all(folder).map_err(failed)?;
                Way::Folder(folder.clone())
            }
            _ => return Err(setting("email", "must have either `smtp` or `folder`")),
        };
        Ok(Self { from, way })
    }

    fn write(&self, letter: &Letter<'_>) -> Result<Message, WriteError> {
        let address: Address = letter.address.parse()?;
        let name = (!letter.name.is_empty()).then(|| letter.name.to_owned());
        let parts =
            MultiPart::alternative_plain_html(letter.words.text.clone(), letter.words.html.clone());
        let domain = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(name, address))
            .subject(letter.words.title.clone())
            .date(letter.now.into())
            // The same for every attempt, so that a copy can be told from another mail.
            .message_id(Some(format!("<{}@{domain}>", letter.id)))
            // Nobody answers it, least of all a machine (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Content-Language", letter.words.locale))
            .multipart(parts)?;
        Ok(message)
    }
}

/// Why a message cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("no message can be written to this address")]
enum WriteError {
    Address(#[from] AddressError),
    Message(#[from] lettre::error::Error),
}

#[async_trait]
impl Carrier for Post {
    async fn carry(&self, letter: Letter<'_>) -> Outcome {
        let Ok(message) = self.write(&letter) else { return Outcome::Refused("INVALID_ADDRESS") };
        match &self.way {
            Way::Server(server) => match server.send(message).await {
                Ok(answer) => Outcome::Sent { reference: queue_id(answer.first_line()) },
                Err(error) => refused(&error),
            },
            Way::Folder(folder) => {
                let file = folder.join(format!("{}.eml", letter.id));
                match tokio::fs::write(file, message.formatted()).await {
                    Ok(()) => Outcome::Sent { reference: String::new() },
                    Err(error) => {
                        tracing::warn!(%error, "mail cannot be written into its folder");
                        Outcome::unsure("FOLDER_FAILED")
                    }
                }
            }
        }
    }
}

/// What the server's answer means. Its text names addresses, and is not logged.
fn refused(error: &SmtpError) -> Outcome {
    let code = error.status().map(|code| code.to_string());
    tracing::warn!(code, timeout = error.is_timeout(), "the mail server did not take a mail");
    if error.is_permanent() {
        return Outcome::Refused("REJECTED");
    }
    if error.is_transient() {
        return Outcome::unsure("DEFERRED");
    }
    Outcome::unsure(if error.is_timeout() { "TIMED_OUT" } else { "UNREACHABLE" })
}

/// The server's name for a mail, as far as it says one: what comes last in its answer, cut, and not
/// an address.
fn queue_id(answer: Option<&str>) -> String {
    let last = answer.and_then(|line| line.split_whitespace().next_back());
    let last = last.filter(|word| !word.contains('@')).unwrap_or_default();
    last.chars().filter(char::is_ascii_graphic).take(100).collect()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn server(
    config: &Smtp,
    timeout: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, ChannelError> {
    let host = config.host.as_str();
    let (tls, port) = match config.tls {
        SmtpTls::Implicit => (Tls::Wrapper(parameters(config)?), 465),
        SmtpTls::Starttls => (Tls::Required(parameters(config)?), 587),
        SmtpTls::None => (Tls::None, 25),
    };
    let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .tls(tls)
        .port(config.port.unwrap_or(port))
        .timeout(Some(timeout));
    Ok(match (&config.username, &config.password) {
        (Some(name), Some(password)) => {
            let password = password.reveal().to_owned();
            server.credentials(Credentials::new(name.clone(), password)).build()
        }
        (None, None) => server.build(),
        _ => {
            let rule = "must have `username` and `password`, or neither";
            return Err(ChannelError::Setting { setting: "email.smtp", rule });
        }
    })
}

fn parameters(config: &Smtp) -> Result<TlsParameters, ChannelError> {
    let builder = TlsParameters::builder(config.host.clone());
    let Some(path) = &config.ca else { return Ok(builder.build()?) };
    let failed = |source: io::Error| ChannelError::File { path: path.clone(), source };
    let authority = Certificate::from_pem(&fs::read(path).map_err(failed)?)?;
    let builder = builder.certificate_store(CertificateStore::None);
    Ok(builder.add_root_certificate(authority).build()?)
}
