"""A mail server for tests. Prints its port, then each mail that it took, one JSON document a line.

The local part of a recipient says how it is treated: `reject` is unknown, `busy-N` is put off N times,
`hang` is never answered. Anybody else gets mail.
"""

import asyncio
import base64
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP


def say(document):
    print(json.dumps(document), flush=True)


class Sink:
    def __init__(self):
        self.put_off = {}

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = address.split("@")[0]
        if local == "reject":
            return "550 5.1.1 There is no such mailbox"
        if local.startswith("busy-"):
            times = self.put_off.setdefault(address, int(local.removeprefix("busy-")))
            if times > 0:
                self.put_off[address] = times - 1
                return "451 4.7.1 Come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if envelope.rcpt_tos[0].startswith("hang@"):
            say({"hung": envelope.rcpt_tos})
            await asyncio.sleep(3600)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        parts = [part for part in mail.walk() if not part.is_multipart()]
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "parts": [
                {"type": part.get_content_type(), "charset": part.get_content_charset(),
                 "text": part.get_content().replace("\r\n", "\n")} for part in parts
            ],
            "raw": base64.b64encode(envelope.content).decode(),
            "login": session.auth_data.login.decode() if session.authenticated else None,
        })
        return "250 2.0.0 OK: queued as 4F7A1"


async def main():
    certificate = sys.argv[1:]
    tls = None
    if certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*certificate)
    sink = Sink()

    def admit(server, session, envelope, mechanism, data):
        from aiosmtpd.smtp import AuthResult
        return AuthResult(success=data.password == b"open sesame", auth_data=data)

    def session():
        return SMTP(sink, hostname="sink", enable_SMTPUTF8=True, authenticator=admit, auth_required=tls is not None,
                    auth_require_tls=False)

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0, ssl=tls)
    say({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
